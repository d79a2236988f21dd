"""Targets: where a request is forwarded to (RFC 3261 §16.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sipshard.policy.edit import Edit
from sipshard.sip import Uri


class Registered(Protocol):
    """What makes a binding of the location service a target (RFC 3261 §16.5, RFC 3327 §5.4)."""

    @property
    def uri(self) -> str:
        """The contact address, which becomes the Request-URI."""

    @property
    def q_milli(self) -> int:
        """Preference in thousandths, 0..1000; equal ones are tried in parallel."""

    @property
    def path(self) -> Sequence[str]:
        """The route set towards it, nearest proxy first."""

    @property
    def flow(self) -> str | None:
        """The connection by which it is reached, if it was registered through one."""


@dataclass(frozen=True, slots=True)
class Target:
    """A destination with settings of its own; a plain URI or binding is one without.

    ``q`` (0 to 1) and ``route`` (name-addrs such as ``"<sip:gateway.example.com;lr>"``, nearest
    first) default to those of a binding, for a URI to 1 and none. ``ring_timeout`` in seconds goes
    before that of the decision. ``edits`` change the copy for this target only, after those of the
    decision.
    """

    uri: str | Uri | Registered
    q: float | None = None
    ring_timeout: float | None = None
    edits: Sequence[Edit] = ()
    route: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.q is not None and not 0 <= self.q <= 1:
            raise ValueError(f"q={self.q} is not in 0..1")
        check_ring_timeout(self.ring_timeout)
        if isinstance(self.route, str):
            raise TypeError("route is a sequence of name-addrs, not one text")


Destination: TypeAlias = str | Uri | Registered | Target
"""Everything that a request can be forwarded to."""


def check_ring_timeout(seconds: float | None) -> None:
    """Raises ValueError for a time in which nobody could answer."""
    if seconds is not None and not seconds > 0:
        raise ValueError(f"ring_timeout={seconds} is not above 0")
