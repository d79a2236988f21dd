"""The check that docs/rfc.md names tests that exist."""

from __future__ import annotations

from tools.document_links import named_tests, names_of_tests

PAGE = """\
| section | what | file | test |
|---|---|---|---|
| §7.1 | start lines, `no_test` | [a](a.rs) | `rfc_7_1_one`, `test_two` |

| rule | what we do | why |
|---|---|---|
| §16.4 | `nor_this` | `nor_that` |
"""


def test_the_last_column_names_tests() -> None:
    assert named_tests(PAGE) == {"rfc_7_1_one", "test_two"}


def test_only_tests_count_not_their_helpers() -> None:
    rust = "#[test]\n#[cfg(unix)]\nfn rfc_7_1_one() {}\n\nfn helper() {}\n"
    python = (
        "def helper() -> None: ...\n\nclass TestIt:\n    async def test_two(self) -> None: ...\n"
    )
    assert names_of_tests(rust) == {"rfc_7_1_one"}
    assert names_of_tests(python) == {"test_two"}
