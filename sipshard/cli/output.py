"""How facts are printed: tables with colour on a terminal, plain columns into a pipe, or JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

Row = Sequence[str]


def print_json(facts: Mapping[str, object]) -> None:
    """Prints one JSON object, indented for people; programs do not mind."""
    print(json.dumps(facts, indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Row], *, style: str = "") -> None:
    """Prints rows below column names. Columns named with a leading ``>`` are flush right."""
    names = [column.removeprefix(">") for column in columns]
    flush_right = [column.startswith(">") for column in columns]
    cells = [[printable(cell) for cell in row] for row in rows]
    if not sys.stdout.isatty():
        _print_plain(names, flush_right, cells)
        return
    table = Table(header_style="bold", style=style)
    for name, is_right in zip(names, flush_right, strict=True):
        table.add_column(name, justify="right" if is_right else "left", no_wrap=is_right)
    for row in cells:
        # Text, not str: what a phone registered must not be read as markup.
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def print_fact(name: str, value: str, *, is_alarming: bool = False) -> None:
    """Prints one named fact, an alarming one in red on a terminal."""
    text = f"{name + ':':<15}{printable(value)}"
    if sys.stdout.isatty():
        Console(highlight=False).print(Text(text, style="bold red" if is_alarming else ""))
    else:
        print(text)


def printable(text: str, keep: str = "") -> str:
    """The text with what could steer a terminal made visible.

    Addresses come from the network, and an escape sequence in one must not reach the operator's
    terminal. ``keep`` are characters that pass all the same.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )


def mebibytes(size_bytes: int) -> str:
    """A size as a person wants it."""
    return f"{size_bytes / 1024 / 1024:.1f} MiB"


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    whole = int(seconds)
    for unit_s, unit, smaller_s, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "m")):
        if whole >= unit_s:
            return f"{whole // unit_s}{unit} {whole % unit_s // smaller_s}{smaller}"
    return f"{whole // 60}m {whole % 60}s" if whole >= 60 else f"{whole}s"


def _print_plain(
    names: Sequence[str], flush_right: Sequence[bool], rows: Sequence[Sequence[str]]
) -> None:
    lines = [[name.upper() for name in names], *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(names))]
    for line in lines:
        cells = (
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, flush_right, strict=True)
        )
        print("  ".join(cells).rstrip())
