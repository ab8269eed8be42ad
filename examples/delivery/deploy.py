"""When the ticket of a release is closed, or a week is over: puts the release in its place, or drops it.

All files and the event are committed as one with the end of this attempt: a reader of the site sees the old release or
the new one, also when the server dies in between.
"""

from pathlib import Path

import evoke
import source


def handler(event, context):
    about, closed = event["data"]["data"], event["data"]["event"]
    answer = closed["data"]["resolution"] if closed else "no answer in time"
    if answer != "approved":
        print(f"ticket {about['ticket']}: {answer}; {about['commit'][:7]} is not released")
        evoke.events.publish({"type": "release.dropped", "data": about | {"answer": answer}})
        return

    site = evoke.kv.namespace(f"site-{about['repository']}")
    former = {entry.key for entry in site.list()}
    with source.unpacked(source.load(about["commit"])) as folder:
        public = Path(folder, "site")
        files = {str(path.relative_to(public)): path.read_bytes() for path in public.rglob("*") if path.is_file()}
    for path, content in files.items():
        site.put_bytes(path, content)
    for path in former - files.keys() - {"release"}:
        site.delete(path)
    site.put("release", {"commit": about["commit"], "ticket": about["ticket"]})
    evoke.events.publish({"type": "release.deployed", "data": about})
