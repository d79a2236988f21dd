"""What import-linter cannot see: who imports the extension, which is no Python module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
KNOW_THE_EXTENSION = {Path("sipshard/sip.py"), Path("sipshard/shm.py")}


def _imported(file: Path) -> Iterator[str]:
    """The dotted names that a file imports, with the names taken from them."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_two_modules_know_the_extension() -> None:
    knowing = {
        file.relative_to(ROOT)
        for folder in ("sipshard", "workers", "supervisor", "loadtest", "tools")
        for file in (ROOT / folder).rglob("*.py")
        if any(name.startswith("sipshard._rust") for name in _imported(file))
    }
    assert knowing == KNOW_THE_EXTENSION
