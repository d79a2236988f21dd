"""Where a key stands in a TOML file, for error messages; ``tomllib`` does not say.

A scan by line, not a parser: it finds ``[table]`` headers and ``key =`` at the beginning of a line.
Keys inside inline tables are attributed to the line of the key that holds the table. A line
inside a multi-line string that looks like a key can mislead it, at the cost of a wrong line number
in an error message.
"""

from __future__ import annotations

import re
import tomllib

_KEY = r"""(?:"[^"\n]*"|'[^'\n]*'|[A-Za-z0-9_-]+)"""
_DOTTED = rf"{_KEY}(?:\s*\.\s*{_KEY})*"
_TABLE = re.compile(rf"\s*\[{{1,2}}\s*({_DOTTED})\s*\]{{1,2}}")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=")

KeyPath = tuple[str, ...]


class KeyLines:
    """The line of every key and table of one file."""

    def __init__(self, text: str) -> None:
        self._lines: dict[KeyPath, int] = {}
        table: KeyPath = ()
        for number, line in enumerate(text.splitlines(), start=1):
            if header := _TABLE.match(line):
                table = _path(header[1])
                self._lines.setdefault(table, number)
            elif assignment := _ASSIGNMENT.match(line):
                self._lines.setdefault(table + _path(assignment[1]), number)

    def find(self, path: KeyPath) -> int | None:
        """The line of ``path``, or of the nearest key or table around it."""
        while path:
            if path in self._lines:
                return self._lines[path]
            path = path[:-1]
        return None


def _path(dotted: str) -> KeyPath:
    try:
        node: object = tomllib.loads(f"{dotted} = 0")
    except tomllib.TOMLDecodeError:
        return (dotted,)
    path: list[str] = []
    while isinstance(node, dict):
        ((name, node),) = node.items()
        path.append(name)
    return tuple(path)
