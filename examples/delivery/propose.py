"""On analysis.passed: asks people whether this commit may be released, and waits for their answer.

Nothing of this function runs while they think. It leaves a wait behind: when *this* ticket is closed, or after a week,
`deploy` is called with what is kept here. A ticket that is closed before this attempt has ended counts as well.
"""

import evoke
from desk import open_ticket


def handler(event, context):
    about = event["data"]
    title = f"Release {about['repository']} {about['commit'][:7]}: {about['title']}?"
    number = open_ticket(event["id"], "release", title, f"Built, tested and analysed. By {about['author']}.")
    evoke.events.wait_for(
        "ticket.closed",
        pattern={"data": {"ticket": [number]}},
        timeout="7d",
        then="deploy",
        data=about | {"ticket": number},
    )
    print(f"ticket {number}: {title}")
