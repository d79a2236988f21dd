"""Locks: two servers never share an address or a runtime directory."""

from __future__ import annotations

import os
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from sipshard.config import ListenAddress
from sipshard.errors import AddressInUseError, BootError, ExitCode
from sipshard.supervisor.locks import ORPHANS_END_S, address_lock, pid_file

ONE = ListenAddress("udp", "127.0.0.1", 5060)
OTHER = ListenAddress("udp", "127.0.0.2", 5060)
WILDCARD = ListenAddress("udp", "0.0.0.0", 5060)
IPV6_WILDCARD = ListenAddress("udp", "::", 5060)
OTHER_PORT = ListenAddress("udp", "0.0.0.0", 5062)


@pytest.mark.parametrize(
    ("first", "second"), [(ONE, ONE), (ONE, WILDCARD), (WILDCARD, ONE), (WILDCARD, WILDCARD)]
)
def test_an_address_has_one_holder(
    tmp_path: Path, first: ListenAddress, second: ListenAddress
) -> None:
    with address_lock(first, tmp_path):
        with pytest.raises(AddressInUseError, match="is in use") as caught:
            address_lock(second, tmp_path).__enter__()
        assert caught.value.exit_code == ExitCode.ADDRESS_IN_USE
    with address_lock(second, tmp_path):
        pass


@pytest.mark.parametrize(
    ("first", "second"), [(ONE, OTHER), (WILDCARD, IPV6_WILDCARD), (WILDCARD, OTHER_PORT)]
)
def test_addresses_that_do_not_overlap_are_independent(
    tmp_path: Path, first: ListenAddress, second: ListenAddress
) -> None:
    with address_lock(first, tmp_path), address_lock(second, tmp_path):
        pass


def test_the_holder_is_named(tmp_path: Path) -> None:
    with (
        address_lock(ONE, tmp_path),
        pytest.raises(AddressInUseError, match=f"by the server with pid {os.getpid()}"),
    ):
        address_lock(ONE, tmp_path).__enter__()


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious", encoding="ascii")
    (tmp_path / "sipshard-udp4-5060.lock").symlink_to(target)
    with pytest.raises(BootError, match="symbolic link"):
        address_lock(ONE, tmp_path).__enter__()
    assert target.read_text(encoding="ascii") == "precious"


def test_a_lock_can_be_tried_by_every_user(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with address_lock(ONE, tmp_path):
            assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o644}
    finally:
        os.umask(before)


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="No such file"):
        address_lock(ONE, tmp_path / "nowhere").__enter__()


def test_the_runtime_directory_has_one_holder(tmp_path: Path) -> None:
    with pid_file(tmp_path), pytest.raises(AddressInUseError, match="is in use by"):
        pid_file(tmp_path).__enter__()


def test_the_pid_is_shown_while_it_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getpid", lambda: 4711)
    path = tmp_path / "supervisor.pid"
    with pid_file(tmp_path):
        assert path.read_text(encoding="ascii") == "4711\n"
    assert path.read_text(encoding="ascii") == ""


def _dead_pid() -> int:
    """A pid that was somebody's a moment ago."""
    child = subprocess.Popen(["true"])
    child.wait()
    return child.pid


def test_the_children_of_a_killed_server_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They hold the lock, which they have inherited, until the kernel has ended them, too."""
    orphan = ExitStack()
    orphan.enter_context(address_lock(ONE, tmp_path))
    for file in tmp_path.iterdir():
        file.write_text(f"{_dead_pid()}\n", encoding="ascii")
    monkeypatch.setattr("sipshard.supervisor.locks.time.sleep", lambda _s: orphan.close())
    with address_lock(ONE, tmp_path):
        pass


def test_the_waiting_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("sipshard.supervisor.locks.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(
        "sipshard.supervisor.locks.time.sleep", lambda s: clock.__setitem__(0, clock[0] + s)
    )
    with pid_file(tmp_path):
        (tmp_path / "supervisor.pid").write_text(f"{_dead_pid()}\n", encoding="ascii")
        with pytest.raises(AddressInUseError):
            pid_file(tmp_path).__enter__()
    assert clock[0] == pytest.approx(ORPHANS_END_S, abs=0.1)


def test_a_server_that_runs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sipshard.supervisor.locks.time.sleep", lambda _s: pytest.fail("waits"))
    with pid_file(tmp_path), pytest.raises(AddressInUseError):
        pid_file(tmp_path).__enter__()
