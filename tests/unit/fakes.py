"""Fakes of the engine, in the shape of the extension's stub."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sipshard.policy.edit import PlainEdit
from sipshard.proxy.route_target import RouteTarget


class Responded(NamedTuple):
    """One call of :meth:`FakeEngine.respond`."""

    transaction_id: int
    status: int
    reason: str | None
    headers: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """The values of the header fields called ``name``, in order."""
        return [value for each, value in self.headers if each == name]


class Forwarded(NamedTuple):
    """One call of :meth:`FakeEngine.forward`."""

    transaction_id: int
    targets: Sequence[RouteTarget]
    record_route: bool
    ring_timeout_s: float | None
    report_failure: bool
    responses: tuple[list[PlainEdit], bool] | None = None
    recurse: bool = False


class Sent(NamedTuple):
    """One call of :meth:`FakeEngine.send_request`."""

    method: str
    uris: tuple[str, str, str]
    route: tuple[str, ...]
    headers: list[tuple[str, str]]
    body: bytes


class FakeEngine:
    """Remembers what it was told, in order, and checks header fields as the engine does."""

    def __init__(self) -> None:
        self.responses: list[Responded] = []
        self.forwards: list[Forwarded] = []
        self.passed_on: list[int] = []
        self.inspections: list[tuple[int, list[PlainEdit]]] = []
        self.sent: list[Sent] = []
        self.abandoned: list[int] = []
        self.counters: dict[str, int] = {}
        self.merged: set[int] = set()
        self.stateless: list[tuple[int, object]] = []

    def respond(
        self,
        transaction_id: int,
        status: int,
        reason: str | None,
        headers: Sequence[tuple[str, str]],
        body: bytes,
    ) -> bool:
        """Remembers a response. ValueError for a line break in a header field."""
        if any("\r" in part or "\n" in part for field in headers for part in field):
            raise ValueError("line break in a header field")
        self.responses.append(Responded(transaction_id, status, reason, list(headers), body))
        return True

    def forward(
        self,
        transaction_id: int,
        targets: Sequence[RouteTarget],
        record_route: bool,
        ring_timeout_s: float | None,
        report_failure: bool,
        responses: tuple[Sequence[PlainEdit], bool] | None,
        recurse: bool,
    ) -> bool:
        """Remembers a forwarded request. ValueError for a target that is no URI."""
        if any(":" not in target[0] for target in targets):
            raise ValueError("unusable uri")
        plain = [
            (uri, q, tuple(route), flow, ring, tuple(edits))
            for uri, q, route, flow, ring, edits in targets
        ]
        asked = None if responses is None else (list(responses[0]), responses[1])
        self.forwards.append(
            Forwarded(
                transaction_id, plain, record_route, ring_timeout_s, report_failure, asked, recurse
            )
        )
        return True

    def forward_stateless(self, transaction_id: int, to: object) -> bool:
        """Remembers a request that was forwarded without state."""
        self.stateless.append((transaction_id, to))
        return True

    def refuse_merged(self, transaction_id: int) -> bool:
        """Whether the test has said that the request is another one's copy."""
        return transaction_id in self.merged

    def inspected(self, transaction_id: int, changes: Sequence[PlainEdit]) -> bool:
        """Remembers what was changed in a response."""
        self.inspections.append((transaction_id, list(changes)))
        return True

    def send_request(
        self,
        method: str,
        uris: tuple[str, str, str],
        route: Sequence[str],
        headers: Sequence[tuple[str, str]],
        body: bytes,
    ) -> int:
        """Remembers a request of the server's own; they are counted from 1."""
        self.sent.append(Sent(method, uris, tuple(route), list(headers), body))
        return len(self.sent)

    def abandon_request(self, number: int) -> None:
        """Remembers that nobody waits for a request any more."""
        self.abandoned.append(number)

    def pass_on(self, transaction_id: int) -> bool:
        """Remembers that the best response was passed on."""
        self.passed_on.append(transaction_id)
        return True

    def count(self, name: str, n: int) -> None:
        """Adds to a counter."""
        self.counters[name] = self.counters.get(name, 0) + n


class Clock:
    """A clock that a test moves. Calling it gives Unix time in seconds."""

    def __init__(self, now_s: float = 1_800_000_000) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Lets ``seconds`` pass."""
        self.now_s += seconds
