"""Decisions: what a policy handler returns. They are values; nothing happens by making one.

==================  ===============================================================  ==============
decision            what the server does                                             RFC 3261
==================  ===============================================================  ==============
Forward             proxies the request to a target set                              §16.5, §16.6
ForwardStateless    proxies it without keeping a transaction                         §16.11
Redirect            answers with 3xx and the contacts to try instead                 §8.3, §21.3
Reject              answers with a final response of class 4xx, 5xx or 6xx           §21.4 to §21.6
Respond             answers as a UAS, for example a 200 to OPTIONS                   §8.2.6, §11.2
Save                updates the bindings of an address-of-record                     §10.3
==================  ===============================================================  ==============
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, TypeAlias

from sipshard.policy.edit import Edit, plain_edits
from sipshard.policy.target import Destination, check_ring_timeout
from sipshard.sip import Uri, check_edits, check_response_headers

HeaderFields: TypeAlias = Sequence[tuple[str, str]]
"""Header fields to add to a response: (name, value), in this order."""

FailureHandler: TypeAlias = Callable[..., Any]
"""Called with (request, response) and what it asks for by name; returns a decision or None."""


ResponseHandler: TypeAlias = Callable[..., Sequence[Edit] | None]
"""Called with (request, response) and what it asks for by name; returns edits or None."""


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

    ``edits`` change the copy of every branch, ``response_edits`` every response of a branch that
    goes upstream. ``on_response``, a plain ``def``, is called with the request and each
    provisional response and 2xx before that goes upstream; it returns edits for it, or None.
    """

    targets: Destination | Sequence[Destination]
    record_route: bool = False
    ring_timeout: float | None = None
    on_failure: FailureHandler | None = None
    edits: Sequence[Edit] = ()
    response_edits: Sequence[Edit] = ()
    on_response: ResponseHandler | None = None
    recurse: bool = False

    def __post_init__(self) -> None:
        check_ring_timeout(self.ring_timeout)
        if self.response_edits:
            check_edits(plain_edits(self.response_edits))
        if self.on_response is not None and iscoroutinefunction(self.on_response):
            raise TypeError("on_response must be a plain def: a response cannot wait")


@dataclass(frozen=True, slots=True)
class ForwardStateless:
    """Proxy the request to one target and forget it (RFC 3261 §16.11).

    The handler is asked again about every retransmission, and must decide from the request alone,
    so that all of them go to the same target. One that forwards INVITE like this is to be
    registered for CANCEL and ACK as well, which follow their INVITE by the same decision (§16.10);
    what else it returns for them is answered 481, or nothing for an ACK.
    """

    target: Destination


@dataclass(frozen=True, slots=True)
class Redirect:
    """Answer with ``contacts``, which the caller tries by itself (RFC 3261 §8.3)."""

    contacts: str | Uri | Sequence[str | Uri]
    code: int = 302
    headers: HeaderFields = ()

    def __post_init__(self) -> None:
        _check_status(self.code, 300, 399)
        _check_headers(self.headers)


@dataclass(frozen=True, slots=True)
class Reject:
    """Answer with a failure. ``reason`` defaults to the phrase that the RFC gives the code."""

    code: int
    reason: str | None = None
    headers: HeaderFields = ()

    def __post_init__(self) -> None:
        _check_status(self.code, 400, 699)
        _check_headers(self.headers)


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer with a final response of any class, as the UAS that the request was meant for."""

    code: int
    reason: str | None = None
    headers: HeaderFields = ()
    body: bytes = b""

    def __post_init__(self) -> None:
        _check_status(self.code, 200, 699)
        _check_headers(self.headers)


@dataclass(frozen=True, slots=True)
class Save:
    """Apply a REGISTER to the bindings of ``aor`` ("user@host") and answer it (RFC 3261 §10.3)."""

    aor: str


Decision: TypeAlias = Forward | ForwardStateless | Redirect | Reject | Respond | Save


def _check_status(code: int, lowest: int, highest: int) -> None:
    if not lowest <= code <= highest:
        raise ValueError(f"status {code} is not in {lowest}..{highest}")


def _check_headers(headers: HeaderFields) -> None:
    """Raises ValueError for a line break, and for what the server itself writes."""
    if headers:
        check_response_headers(list(headers))
