"""Fails when a relative link in a Markdown file leads nowhere: no such file, or no such heading in it."""

import re
import sys
from pathlib import Path

NOT_OURS = {"target", "node_modules", ".venv", ".evoke"}
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`[^`\n]*`")


def main() -> int:
    pages = [page for page in Path().rglob("*.md") if not NOT_OURS & set(page.parts)]
    dead = [f"{page}: {link}" for page in pages for link in dead_links(page)]
    for line in dead:
        print(f"dead link in {line}")
    return 1 if dead else 0


def dead_links(page: Path) -> list[str]:
    found = LINK.findall(CODE.sub("", FENCE.sub("", page.read_text())))
    return [link for link in found if not re.match(r"[a-z]+:", link) and not leads_somewhere(page, link)]


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors(target)


def anchors(page: Path) -> set[str]:
    """Ids of headings, as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text()))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


if __name__ == "__main__":
    sys.exit(main())
