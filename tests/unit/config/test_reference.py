"""The reference page is generated, and what is committed is what the generator writes."""

from __future__ import annotations

import pytest

from sipshard.config import Configuration
from tools import config_reference


def test_the_committed_page_is_current() -> None:
    assert config_reference.PAGE.read_text(encoding="utf-8") == config_reference.reference()


def test_every_key_is_on_the_page() -> None:
    page = config_reference.reference()
    for name, table in Configuration.model_fields.items():
        section = page.split(f"## `[{name}]`")[1].split("\n## ")[0]
        for key in table.annotation.model_fields:  # type: ignore[union-attr]  # a BaseModel
            assert f"| `{key}` |" in section


def test_check_finds_a_stale_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["config_reference.py", "--check"])
    assert config_reference.main() == 0
    monkeypatch.setattr(config_reference, "reference", lambda: "something else")
    assert config_reference.main() == 1
    assert "stale" in capsys.readouterr().err
