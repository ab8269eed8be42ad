"""On build.passed: reads the source for what tests do not see. The rules are few; a team would add its own."""

import ast
from pathlib import Path

import evoke
import source

FORBIDDEN = {"eval", "exec", "compile", "__import__"}
LINES_MAX = 60


def handler(event, context):
    about = event["data"]
    with source.unpacked(source.load(about["commit"])) as folder:
        found = [finding for path in sorted(Path(folder).rglob("*.py")) for finding in findings(path, folder)]
    for finding in found:
        print(finding)
    if found:
        failure = {"step": "analysis", "said": "\n".join(found)}
        evoke.events.publish({"type": "analysis.failed", "data": about | failure})
    else:
        evoke.events.publish({"type": "analysis.passed", "data": about})


def findings(path: Path, folder: str):
    """`file:line: what is wrong`, for each thing that is."""
    name = path.relative_to(folder)
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Call(func=ast.Name(id=called)) if called in FORBIDDEN:
                yield f"{name}:{node.lineno}: calls {called}, which runs what it is given"
            case ast.ExceptHandler(type=None):
                yield f"{name}:{node.lineno}: a bare except hides every failure"
            case ast.FunctionDef(end_lineno=int(end)) if end - node.lineno >= LINES_MAX:
                yield f"{name}:{node.lineno}: {node.name} has {end - node.lineno + 1} lines"
