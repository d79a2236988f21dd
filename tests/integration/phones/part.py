"""What the phones of the interoperability tests have in common: a part in one call."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

from loadtest.sipp import HOST

# What any step of a call may take, on a machine that is busy with something else.
PATIENCE_S = 8.0


class PhoneError(AssertionError):
    """A phone did not do its part of the call; the message says what it did instead."""


@dataclass(frozen=True, slots=True)
class Part:
    """Who plays, and how: ``calls`` is the user to call, None for one who is called.

    ``server`` is host and port of the listener that fits the phone's transport.
    """

    user: str
    domain: str
    server: tuple[str, int]
    calls: str | None
    hangs_up: bool

    @property
    def aor(self) -> str:
        """The address of record, as a URI."""
        return f"sip:{self.user}@{self.domain}"

    @property
    def target(self) -> str:
        """The URI to call."""
        return f"sip:{self.calls}@{self.domain}"


class Phone(Protocol):
    """A phone that is not ours, with one part in one call.

    Entering it registers it, and then it calls, or answers what comes. A phone that is scripted may
    hang up without having been told, but only if that is its part.
    """

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def wait_until_answered(self) -> None:
        """Returns when the call is up. Raises PhoneError."""

    def hang_up(self) -> None:
        """Sends the BYE."""

    def wait_until_ended(self) -> None:
        """Returns when the call has ended as it should. Raises PhoneError."""


def reserve_tcp_port() -> socket.socket:
    """A socket that keeps a free port until it is closed, for a program that sets SO_REUSEADDR.

    Ports that are merely free may be a connection's or a listener's a moment later.
    """
    keeper = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind((HOST, 0))
    return keeper


def wait_for(condition: Callable[[], bool], failure: Callable[[], str]) -> None:
    """Waits until ``condition`` holds. Raises PhoneError with ``failure`` when it does not."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise PhoneError(failure())
        time.sleep(0.01)
