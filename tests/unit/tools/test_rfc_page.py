"""The check that docs/rfc.md speaks of every section and names tests that exist."""

from __future__ import annotations

from tools.rfc_page import (
    Row,
    empty_rows,
    missing_sections,
    names_of_tests,
    required_sections,
    rows_of,
)

PAGE = """\
## RFC 3261: SIP

| section | what | file | test |
|---|---|---|---|
| §7.1 | start lines, `no_test` | [a](a.rs) | `rfc_7_1_one`, `test_two` |
| §16.6 steps 2, 3, §19.1.1 | what is copied | [a](a.rs) | `test_two` |

## Others

| section | what | file | test |
|---|---|---|---|
| 4475 | torture | – | said elsewhere |

| rule | what we do | why |
|---|---|---|
| §16.4 | `nor_this` | `nor_that` |
"""


def test_rows_belong_to_the_rfc_above_them() -> None:
    rows = list(rows_of(PAGE))
    assert [row.rfc for row in rows] == ["3261", "3261", ""]
    assert rows[0].test == "`rfc_7_1_one`, `test_two`"


def test_a_row_may_speak_of_several_sections_and_steps() -> None:
    row = list(rows_of(PAGE))[1]
    assert row.sections == {"16.6", "16.6:2", "16.6:3", "19.1.1"}


def test_ranges_are_written_out() -> None:
    assert list(required_sections("7.1 7.3.9..11 10.3:1..2 4")) == [
        "7.1",
        "7.3.9",
        "7.3.10",
        "7.3.11",
        "10.3:1",
        "10.3:2",
        "4",
    ]


def test_every_section_that_has_no_row_is_named() -> None:
    missing = list(missing_sections(list(rows_of(PAGE))))
    assert "RFC 3261 §7.1: no row" not in missing
    assert "RFC 3261 §16.6 step 2: no row" not in missing
    assert "RFC 3261 §16.6 step 4: no row" in missing
    assert "RFC 3261 §20.44: no row" in missing
    assert "RFC 7118 §5.2.4: no row" in missing


def test_a_row_has_a_test_or_a_reason() -> None:
    link = "[a](a.rs)"
    good = [Row("1", "§1", link, "`test_two`"), Row("1", "§2", "–", "of user agents")]
    assert list(empty_rows(good)) == []
    bad = [Row("1", "§3", link, "it is so"), Row("1", "§4", "–", "–")]
    assert list(empty_rows(bad)) == ["§3: no test", "§4: neither a file nor a reason"]


def test_only_tests_count_not_their_helpers() -> None:
    rust = "#[test]\n#[cfg(unix)]\nfn rfc_7_1_one() {}\n\nfn helper() {}\n"
    python = (
        "def helper() -> None: ...\n\nclass TestIt:\n    async def test_two(self) -> None: ...\n"
    )
    assert names_of_tests(rust) == {"rfc_7_1_one"}
    assert names_of_tests(python) == {"test_two"}
