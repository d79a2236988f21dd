"""Checks docs/rfc.md: every section that it must speak of has a row, every named test exists.

Usage: rfc_page.py. A row belongs to the RFC of the heading above it (``## RFC 3263: ...``) and to
the sections of its first cell (``§16.6 steps 2, 3``). It names at least one test in its last cell;
a row with ``–`` for a file says there why there is none. Exit code 1 when something is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path("docs") / "rfc.md"
NOTHING = "–"
RFC_HEADING = re.compile(r"## RFC (\d+)\b")
SECTION = re.compile(r"§(\d+(?:\.\d+)*)(?: steps? (\d+(?:, \d+)*))?")
NAMED_TEST = re.compile(r"`([a-z0-9_]+)`")
RUST_TEST = re.compile(r"#\[test\]\s*(?:#\[[^\]]*\]\s*)*fn (\w+)")
PYTHON_TEST = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)

# Every section with rules for a registrar, proxy or transport, and those around them, so that what
# does not apply is said and not forgotten. `a..b` counts up the last number.
REQUIRED = {
    "3261": """
        7.1..3 7.3.1..3 7.4 7.4.1..2 7.5
        8.1 8.1.1 8.1.1.1..10 8.1.2 8.1.3 8.1.3.1..5
        8.2 8.2.1 8.2.2 8.2.2.1..3 8.2.3..6 8.2.6.1..2 8.2.7 8.3
        9.1..2
        10.1 10.2 10.2.1 10.2.1.1..2 10.2.2..8 10.3:1..8
        11.1..2
        12.1 12.1.1..2 12.2 12.2.1 12.2.1.1..2 12.2.2 12.3
        16.1..2 16.3:1..6 16.4..5 16.6:1..11 16.7:1..10 16.8..12 16.12.1 16.12.1.1..3
        17.1 17.1.1 17.1.1.1..3 17.1.2 17.1.2.1..2 17.1.3..4 17.2 17.2.1..4
        18.1 18.1.1..2 18.2 18.2.1..2 18.3..4
        19.1 19.1.1..6 19.2..3
        20.1..44
        """,
    "3263": "4 4.1..4 5 6 7 8",
    "3327": "4 5.1..5 6",
    "3581": "3 4 5",
    "4320": "4.1..2",
    "4321": "1.1..6 2",
    "5393": "3 4.1..2 4.2.1..4 5.1..3 5.3.1..3 5.3.3.1 5.3.4..5 5.4..8 6",
    "5626": "3.5.1 4.1..2 4.4.1..2 4.5 5.1..4 6 7 8",
    "5922": "7.1..5 7.8",
    "5923": "5 6 7 8.1..3 9.1..3 10",
    "6026": "7.1..3 8.1..11",
    "6455": "4.2.1..2 5.1..5 7.4.1 8.1 9",
    "7118": "4.1..2 5.1 5.2.1..4 5.3 6 7 8 9.1..2",
    "8996": "4 5",
}


@dataclass(frozen=True)
class Row:
    """One row of a table of four columns."""

    rfc: str
    section: str
    file: str
    test: str

    @property
    def sections(self) -> set[str]:
        """What it speaks of: ``16.6``, and ``16.6:2`` for step 2."""
        found = set()
        for section, steps in SECTION.findall(self.section):
            found.add(section)
            found.update(f"{section}:{step}" for step in steps.split(", ") if step)
        return found


def main() -> int:
    """Prints what is missing; the exit code."""
    root = Path(__file__).resolve().parent.parent
    rows = list(rows_of((root / PAGE).read_text(encoding="utf-8")))
    missing = [*missing_sections(rows), *empty_rows(rows)]
    named = {name for row in rows for name in NAMED_TEST.findall(row.test)}
    missing += [f"{name}: no such test" for name in sorted(named - _tests(root))]
    for line in missing:
        print(f"{PAGE}: {line}", file=sys.stderr)
    return 1 if missing else 0


def rows_of(page: str) -> Iterator[Row]:
    """The rows of all tables of four columns, without their heads."""
    rfc = ""
    for line in page.splitlines():
        if line.startswith("## "):
            heading = RFC_HEADING.match(line)
            rfc = heading.group(1) if heading else ""
        cells = [cell.strip() for cell in line.split("|")]
        if line.startswith("|") and len(cells) == 6 and cells[3] not in ("file", "---"):
            yield Row(rfc, cells[1], cells[3], cells[4])


def missing_sections(rows: list[Row]) -> Iterator[str]:
    """The required sections that no row speaks of."""
    for rfc, ranges in REQUIRED.items():
        present = {section for row in rows if row.rfc == rfc for section in row.sections}
        for section in required_sections(ranges):
            if section not in present:
                yield f"RFC {rfc} §{section.replace(':', ' step ')}: no row"


def required_sections(ranges: str) -> Iterator[str]:
    """``7.3.1..3 10.3:1..2`` written out: ``7.3.1 7.3.2 7.3.3 10.3:1 10.3:2``."""
    for each in ranges.split():
        first, _, last = each.partition("..")
        stem, number = re.fullmatch(r"(.*?)(\d+)", first).groups()  # type: ignore[union-attr]  # by us
        for count in range(int(number), int(last or number) + 1):
            yield f"{stem}{count}"


def empty_rows(rows: list[Row]) -> Iterator[str]:
    """Rows that show nothing: a file without a test, or neither a file nor a reason."""
    for row in rows:
        if row.file == NOTHING and not row.test.strip(NOTHING):
            yield f"{row.section}: neither a file nor a reason"
        if row.file != NOTHING and not NAMED_TEST.search(row.test):
            yield f"{row.section}: no test"


def names_of_tests(source: str) -> set[str]:
    """The names of the tests in a Rust or Python source."""
    return {*RUST_TEST.findall(source), *PYTHON_TEST.findall(source)}


def _tests(root: Path) -> set[str]:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(
        [*command, "crates/*.rs", "tests/*.py"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    sources = [root / name for name in listed.stdout.splitlines() if (root / name).is_file()]
    return set().union(*(names_of_tests(source.read_text(encoding="utf-8")) for source in sources))


if __name__ == "__main__":
    sys.exit(main())
