"""What the arbiter hears, and the layer of processes it hears it from.

The arbiter knows no ``fork``, no ``kill`` and no clock: it talks to a :class:`Processes`. The real
one is :mod:`sipshard.supervisor.forking`; the tests bring one of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sipshard.supervisor.child import Role


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """The supervisor got a signal."""

    number: int


@dataclass(frozen=True, slots=True)
class ChildReady:
    """A child has booted."""

    pid: int


@dataclass(frozen=True, slots=True)
class ChildFailed:
    """A child cannot boot; its exit follows."""

    pid: int
    exit_code: int
    message: str


@dataclass(frozen=True, slots=True)
class ChildBeat:
    """A child without a page in the shared region is alive."""

    pid: int


@dataclass(frozen=True, slots=True)
class ChildExited:
    """A child is gone. ``exit_code`` is negative when a signal ended it, as in subprocess."""

    pid: int
    exit_code: int


Event = SignalReceived | ChildReady | ChildFailed | ChildBeat | ChildExited


class Processes(Protocol):
    """What the arbiter can do to processes."""

    def spawn(self, role: Role, generation: int, *, standby: bool) -> int:
        """Forks a child and returns its pid. Raises OSError when the kernel has no process."""
        ...

    def send_signal(self, pid: int, number: int) -> None:
        """Sends a signal to a child that has not been reported as exited yet."""
        ...

    def command(self, pid: int, command: str) -> None:
        """Writes a command into the child's pipe; one that cannot take it has died or will."""
        ...

    def wait(self, timeout_s: float) -> list[Event]:
        """Waits until something has happened, at most ``timeout_s``, and returns all of it."""
        ...
