"""The real layer of processes: forks that report, obey and die."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sipshard.config import Configuration
from sipshard.errors import PolicyError
from sipshard.supervisor.child import Role
from sipshard.supervisor.events import (
    ChildBeat,
    ChildExited,
    ChildFailed,
    ChildReady,
    Event,
    SignalReceived,
)
from sipshard.supervisor.forking import ForkedProcesses
from sipshard.workers.base import TAKE_OVER, ChildPipe, ChildProcess, Inheritance

# Only a broken test waits this long.
PATIENCE_S = 20.0


class Obedient(ChildProcess):
    """Waits for one command, answers with a heartbeat and ends."""

    name = "obedient"

    def boot(self) -> None:
        """Nothing to open."""

    def serve(self) -> None:
        """Waits for a command."""
        pipe = self.inheritance.pipe
        select.select([pipe], [], [], PATIENCE_S)
        if pipe.commands() == [TAKE_OVER]:
            pipe.heartbeat()


class Unbootable(Obedient):
    """Has a bad policy."""

    def boot(self) -> None:
        """Fails."""
        raise PolicyError("route.py:1: no")


class Broken(Obedient):
    """Has a bug."""

    def boot(self) -> None:
        """Fails in a way nobody planned."""
        raise KeyError("bug")


class Crashing(Obedient):
    """Has a bug that shows later."""

    def serve(self) -> None:
        """Fails."""
        raise KeyError("bug")


class Dozing(Obedient):
    """Does nothing until a signal ends it."""

    def serve(self) -> None:
        """Waits for a signal."""
        signal.pause()


class Mad(Obedient):
    """Reports what no child reports."""

    def serve(self) -> None:
        """Talks nonsense, then makes sense once more."""
        with socket.socket(fileno=os.dup(self.inheritance.pipe.fileno())) as pipe:
            for report in (b"\xc1", b"\x81", b"\x01", b"\x80", b"\xff\xff"):
                pipe.send(report)
        self.inheritance.pipe.heartbeat()


KINDS = (Obedient, Unbootable, Broken, Crashing, Dozing, Mad)


def bequeath(role: Role, generation: int, standby: bool, pipe: ChildPipe) -> Inheritance:
    nothing = cast("Any", SimpleNamespace())
    return Inheritance(
        configuration=Configuration(),
        installation_secret=bytes(16),
        region=nothing,
        wakeups=(),
        listeners=(),
        control_socket=nothing,
        supervisor_pid=os.getppid(),
        shard=role.shard,
        generation=generation,
        standby=standby,
        pipe=pipe,
    )


@pytest.fixture
def processes() -> Iterator[ForkedProcesses]:
    forked = ForkedProcesses({kind.__name__: kind for kind in KINDS}, bequeath)
    forked.catch_signals()
    yield forked
    forked.close()
    signal.signal(signal.SIGINT, signal.default_int_handler)


def events_until_exit(processes: ForkedProcesses, pid: int) -> list[Event]:
    heard: list[Event] = []
    end = time.monotonic() + PATIENCE_S
    while not any(isinstance(event, ChildExited) for event in heard):
        assert time.monotonic() < end, heard
        heard += processes.wait(PATIENCE_S)
    assert all(not isinstance(each, SignalReceived) and each.pid == pid for each in heard)
    return heard


def test_a_child_reports_obeys_and_exits(processes: ForkedProcesses) -> None:
    pid = processes.spawn(Role("Obedient"), 1, standby=False)
    assert processes.wait(PATIENCE_S) == [ChildReady(pid)]
    processes.command(pid, TAKE_OVER)
    assert events_until_exit(processes, pid) == [ChildBeat(pid), ChildExited(pid, 0)]


@pytest.mark.parametrize(
    ("kind", "exit_code", "message"),
    [("Unbootable", 4, "route.py:1: no"), ("Broken", 3, "KeyError: 'bug'")],
)
def test_a_boot_that_fails_is_explained_before_the_exit(
    processes: ForkedProcesses, kind: str, exit_code: int, message: str
) -> None:
    pid = processes.spawn(Role(kind), 1, standby=False)
    assert events_until_exit(processes, pid) == [
        ChildFailed(pid, exit_code, message),
        ChildExited(pid, exit_code),
    ]


def test_a_child_that_raises_while_it_serves(processes: ForkedProcesses) -> None:
    pid = processes.spawn(Role("Crashing"), 1, standby=False)
    assert events_until_exit(processes, pid) == [ChildReady(pid), ChildExited(pid, 1)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_signal_that_ended_a_child_is_reported(processes: ForkedProcesses, number: int) -> None:
    pid = processes.spawn(Role("Dozing"), 1, standby=False)
    assert processes.wait(PATIENCE_S) == [ChildReady(pid)]
    processes.send_signal(pid, number)
    assert events_until_exit(processes, pid) == [ChildExited(pid, -number)]


def test_a_child_that_has_exited_gets_no_signal_and_no_command(
    processes: ForkedProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = processes.spawn(Role("Crashing"), 1, standby=False)
    events_until_exit(processes, pid)

    def refuse(_pid: int, _number: int) -> None:
        raise AssertionError("somebody else may have this pid by now")

    monkeypatch.setattr("os.kill", refuse)
    processes.send_signal(pid, signal.SIGKILL)
    processes.command(pid, TAKE_OVER)


def test_the_supervisors_own_signals_become_events(processes: ForkedProcesses) -> None:
    signal.raise_signal(signal.SIGHUP)
    signal.raise_signal(signal.SIGTERM)
    assert processes.wait(0) == [SignalReceived(signal.SIGHUP), SignalReceived(signal.SIGTERM)]


def test_waiting_ends(processes: ForkedProcesses) -> None:
    assert processes.wait(0) == []


def test_a_child_that_talks_nonsense_is_not_believed(processes: ForkedProcesses) -> None:
    pid = processes.spawn(Role("Mad"), 1, standby=False)
    expected = [ChildReady(pid), ChildBeat(pid), ChildExited(pid, 0)]
    assert events_until_exit(processes, pid) == expected
