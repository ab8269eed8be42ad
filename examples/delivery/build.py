"""On git.push: compiles what was pushed and runs its tests.

The code is a stranger's. It runs here as everything does: in the sandbox of this function, without network, with the
memory and the time that evoke.toml gives. What it may see of the platform is what this function may.
"""

import base64
import subprocess
import sys

import evoke
import source

STEPS = {
    "compile": ["-m", "compileall", "-q", "."],
    "test": ["-m", "unittest", "discover", "-v"],
}


def handler(event, context):
    push = event["data"]
    packed = base64.b64decode(push["source"])
    source.keep(push["commit"], packed)
    about = {
        "repository": push["repository"],
        "commit": push["commit"],
        "author": push["author"],
        "title": push["title"],
    }
    with source.unpacked(packed) as folder:
        for step, arguments in STEPS.items():
            done = subprocess.run(
                [sys.executable, *arguments],
                check=False,
                cwd=folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=context.get_remaining_time_in_millis() / 1000 - 5,
            )
            print(f"{step} of {push['commit'][:7]}: {'passed' if done.returncode == 0 else 'failed'}")
            if done.returncode != 0:
                failure = {"step": step, "said": done.stdout[-4000:]}
                evoke.events.publish({"type": "build.failed", "data": about | failure})
                return
    evoke.events.publish({"type": "build.passed", "data": about})
