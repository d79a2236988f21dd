"""Checks that what the Markdown documents point at exists: files and headings.

Usage: document_links.py. Looks at the files git knows; an anchor is checked against the headings of
its page. Links to other sites are not followed: a check must not fail because somebody else's
server does. Exit code 1 when something is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+\s+(.*)$", re.MULTILINE)


def main() -> int:
    """Prints each broken link as ``file: target``; the exit code."""
    root = Path(__file__).resolve().parent.parent
    broken = [found for page in _pages(root) for found in _broken_links(root, page)]
    for line in broken:
        print(line, file=sys.stderr)
    return 1 if broken else 0


def _pages(root: Path) -> list[Path]:
    return _files(root, "*.md")


def _files(root: Path, *patterns: str) -> list[Path]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return [root / name for name in listed.stdout.splitlines() if (root / name).is_file()]


def _broken_links(root: Path, page: Path) -> Iterator[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path) if path else page
        if not file.exists():
            yield f"{page.relative_to(root)}: {target}: no such file"
        elif anchor and anchor not in _anchors(file):
            yield f"{page.relative_to(root)}: {target}: no such heading"


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, made as the usual renderers make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
        for heading in HEADING.findall(text)
    }


if __name__ == "__main__":
    sys.exit(main())
