"""The secret of an installation."""

from __future__ import annotations

from pathlib import Path

import pytest

from sipshard.supervisor.secret import SECRET_BYTES, installation_secret


def test_it_is_made_once_and_kept(tmp_path: Path) -> None:
    location = tmp_path / "var" / "location"
    secret = installation_secret(location)
    assert len(secret) == SECRET_BYTES
    assert installation_secret(location) == secret
    (file,) = location.iterdir()
    assert file.name == "installation.key"
    assert file.stat().st_mode & 0o777 == 0o600


def test_two_installations_have_two(tmp_path: Path) -> None:
    assert installation_secret(tmp_path / "a") != installation_secret(tmp_path / "b")


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 17])
def test_a_damaged_one_is_left_alone_and_replaced_for_this_run(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "installation.key"
    file.write_bytes(content)
    assert len(installation_secret(tmp_path)) == SECRET_BYTES
    assert file.read_bytes() == content
    assert "for this run only" in caplog.text


def test_a_place_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    assert len(installation_secret(tmp_path / "file" / "location")) == SECRET_BYTES
    assert "for this run only" in caplog.text
