"""Decisions: what a policy handler returns. They are values; nothing happens by making one.

==============  ===============================================================  ==============
decision        what the server does                                             RFC 3261
==============  ===============================================================  ==============
Forward         proxies the request to a target set                              §16.5, §16.6
Redirect        answers with 3xx and the contacts to try instead                 §8.3, §21.3
Reject          answers with a final response of class 4xx, 5xx or 6xx           §21.4 to §21.6
Respond         answers as a UAS, for example a 200 to OPTIONS                   §8.2.6, §11.2
Save            updates the bindings of an address-of-record                     §10.3
==============  ===============================================================  ==============
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from sipshard.sip import Uri

HeaderFields: TypeAlias = Sequence[tuple[str, str]]
"""Header fields to add to a response: (name, value), in this order."""

FailureHandler: TypeAlias = Callable[..., Any]
"""Called with (request, response) and what it asks for by name; returns a decision or None."""


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


Target: TypeAlias = str | Uri | Registered


@dataclass(frozen=True, slots=True)
class Forward:
    """Proxy the request (RFC 3261 §16.6) to one target or to several.

    Targets with the same q are tried in parallel, groups of lower q after those of higher q;
    plain URIs count as q=1. An empty sequence answers 480 (§16.5).

    ``record_route`` keeps the server in the path of the dialog. ``ring_timeout`` is the time in
    seconds that a branch may ring (the configuration's without it). ``on_failure`` is called with
    the request and the best response when every branch has failed; it returns the next decision,
    or None to pass that response on.

    ``recurse`` tries the contacts of a 3xx as further targets, each once and by their q (§16.7 step
    4), where the caller would get the 3xx without it. Only for a Request-URI that is yours (§16.5).
    """

    targets: Target | Sequence[Target]
    record_route: bool = False
    ring_timeout: float | None = None
    on_failure: FailureHandler | None = None
    recurse: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer with ``contacts``, which the caller tries by itself (RFC 3261 §8.3)."""

    contacts: str | Uri | Sequence[str | Uri]
    code: int = 302

    def __post_init__(self) -> None:
        _check_status(self.code, 300, 399)


@dataclass(frozen=True, slots=True)
class Reject:
    """Answer with a failure. ``reason`` defaults to the phrase that the RFC gives the code."""

    code: int
    reason: str | None = None
    headers: HeaderFields = ()

    def __post_init__(self) -> None:
        _check_status(self.code, 400, 699)


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer with a final response of any class, as the UAS that the request was meant for."""

    code: int
    reason: str | None = None
    headers: HeaderFields = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        _check_status(self.code, 200, 699)


@dataclass(frozen=True, slots=True)
class Save:
    """Apply a REGISTER to the bindings of ``aor`` ("user@host") and answer it (RFC 3261 §10.3)."""

    aor: str


Decision: TypeAlias = Forward | Redirect | Reject | Respond | Save


def _check_status(code: int, lowest: int, highest: int) -> None:
    if not lowest <= code <= highest:
        raise ValueError(f"status {code} is not in {lowest}..{highest}")
