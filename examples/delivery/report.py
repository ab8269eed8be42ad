"""On build.failed and analysis.failed: files a bug with what was said."""

from desk import open_ticket


def handler(event, context):
    about = event["data"]
    title = f"{about['repository']} {about['commit'][:7]} by {about['author']}: {about['step']} failed"
    number = open_ticket(event["id"], "bug", title, about["said"])
    print(f"bug {number}: {title}")
