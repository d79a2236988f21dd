"""Carries out decisions: what policy returned becomes what the engine does.

A policy that raises, returns something else or asks for what cannot be costs its own request a
500 and a log line; nothing it does ends the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias, final

from sipshard.log import logger
from sipshard.policy.decision import (
    FailureHandler,
    Forward,
    HeaderFields,
    Redirect,
    Reject,
    Respond,
    Save,
    Target,
)
from sipshard.policy.router import ANY_METHOD, Ready, Router, fill_in
from sipshard.policy.runner import MAX_SUSPENDED, SUSPENDED, Runner, TooManySuspended
from sipshard.sip import Request, Response, Uri

Event: TypeAlias = tuple[str, int, Request | None, Response | None]
"""(kind, transaction, request, best response); kind is "request", "failure", "cancelled" or,
without a request, "settled": there will be no failure to decide about."""

RouteTarget: TypeAlias = tuple[str, int, Sequence[str], str | None]
"""(uri, q in thousandths, route set, flow), as the engine takes it."""

MAX_FAILURE_HANDLERS = 200_000
"""Forwarded requests whose on_failure is remembered; the oldest gives way to a newer one."""

POLICY_ERRORS = "policy_errors"
"""The counter of the requests whose handler raised or decided nothing usable."""

RETRY_AFTER_S = 5
"""What a caller is told to wait when too many policy handlers wait already."""


class ProxyEngine(Protocol):
    """The part of the engine that decisions need."""

    def respond(
        self,
        transaction_id: int,
        status: int,
        reason: str | None,
        headers: HeaderFields,
        body: bytes,
    ) -> bool:
        """Sends the final response of transaction ``transaction_id``; False when it is gone."""

    def forward(
        self,
        transaction_id: int,
        targets: Sequence[RouteTarget],
        record_route: bool,
        ring_timeout_s: float | None,
        report_failure: bool,
        recurse: bool,
    ) -> bool:
        """Proxies the request to ``targets``. Raises ValueError for an unusable URI."""

    def refuse_merged(self, transaction_id: int) -> bool:
        """Answers 482 if another copy of the request is answered here (RFC 3261 §8.2.2.2)."""

    def pass_on(self, transaction_id: int) -> bool:
        """Sends the best response upstream."""

    def count(self, name: str, n: int) -> None:
        """Adds ``n`` to the counter of that name."""


class BindingsWriter(Protocol):
    """The registrar."""

    def save(self, transaction_id: int, request: Request, aor: str) -> None:
        """Applies a REGISTER and answers it."""


@final
class Execution:
    """The way of a request through policy. One per worker, used in the loop's thread only."""

    def __init__(
        self,
        engine: ProxyEngine,
        registrar: BindingsWriter,
        router: Router,
        services: Mapping[str, object],
        loop: asyncio.AbstractEventLoop,
        *,
        max_suspended: int = MAX_SUSPENDED,
        max_failure_handlers: int = MAX_FAILURE_HANDLERS,
    ) -> None:
        self._engine = engine
        self._registrar = registrar
        self._services = services
        self._handlers: dict[str, Ready] = router.bind(services)
        self._any_handler = self._handlers.get(ANY_METHOD)
        self._allow = (("Allow", ", ".join(router.methods)),)
        self._runner = Runner(loop, self._resumed, max_suspended=max_suspended)
        self._waiting: dict[int, tuple[Request, Response | None]] = {}
        self._failure_handlers: dict[int, FailureHandler] = {}
        self._max_failure_handlers = max_failure_handlers

    @property
    def suspended(self) -> int:
        """How many handlers wait for something."""
        return self._runner.suspended

    def handle(self, events: Iterable[Event]) -> None:
        """Decides about everything in ``events``. Never raises because of a policy."""
        for kind, transaction_id, request, response in events:
            if kind == "request" and request is not None:
                self._decide(transaction_id, request)
            elif kind == "failure" and request is not None and response is not None:
                self._decide_on_failure(transaction_id, request, response)
            else:
                self._forget(transaction_id)

    def close(self) -> None:
        """Cancels the handlers that wait."""
        self._runner.close()
        self._waiting.clear()
        self._failure_handlers.clear()

    def _decide(self, transaction_id: int, request: Request) -> None:
        handler = self._handlers.get(request.method, self._any_handler)
        if handler is None:
            self._engine.respond(transaction_id, 405, None, self._allow, b"")
            return
        try:
            decision = self._runner.run(transaction_id, handler, request)
            self._settle(transaction_id, request, None, decision)
        except Exception as error:
            self._give_up(transaction_id, request, error)

    def _decide_on_failure(self, transaction_id: int, request: Request, response: Response) -> None:
        handler = self._failure_handlers.pop(transaction_id, None)
        if handler is None:
            self._engine.pass_on(transaction_id)
            return
        try:
            ready = fill_in(handler, self._services, 2)
            decision = self._runner.run(transaction_id, ready, request, response)
            self._settle(transaction_id, request, response, decision)
        except Exception as error:
            self._give_up(transaction_id, request, error)

    def _resumed(self, transaction_id: int, task: asyncio.Task[object]) -> None:
        """The end of a handler that had suspended."""
        request, response = self._waiting.pop(transaction_id)
        try:
            self._settle(transaction_id, request, response, task.result())
        except (Exception, asyncio.CancelledError) as error:
            self._give_up(transaction_id, request, error)

    def _settle(
        self, transaction_id: int, request: Request, response: Response | None, decision: object
    ) -> None:
        """Acts on what a handler returned. ``response`` is what an on_failure was asked about."""
        if decision is SUSPENDED:
            self._waiting[transaction_id] = (request, response)
        elif decision is None and response is not None:
            self._engine.pass_on(transaction_id)
        else:
            self._carry_out(transaction_id, request, decision)

    def _carry_out(self, transaction_id: int, request: Request, decision: object) -> None:
        if isinstance(decision, Forward):
            self._forward(transaction_id, decision)
        elif isinstance(decision, Save):
            if not self._engine.refuse_merged(transaction_id):
                self._registrar.save(transaction_id, request, decision.aor)
        elif isinstance(decision, Reject):
            self._engine.respond(
                transaction_id, decision.code, decision.reason, decision.headers, b""
            )
        elif isinstance(decision, Respond):
            self._respond(transaction_id, decision)
        elif isinstance(decision, Redirect):
            contacts = tuple(("Contact", f"<{uri}>") for uri in _uris(decision.contacts))
            self._engine.respond(transaction_id, decision.code, None, contacts, b"")
        else:
            raise TypeError(f"policy returned {decision!r}, which is no decision")

    def _respond(self, transaction_id: int, decision: Respond) -> None:
        if not self._engine.refuse_merged(transaction_id):
            self._engine.respond(
                transaction_id, decision.code, decision.reason, decision.headers, decision.body
            )

    def _forward(self, transaction_id: int, decision: Forward) -> None:
        targets = _route_targets(decision.targets)
        if not targets:
            self._engine.respond(transaction_id, 480, None, (), b"")
            return
        on_failure = decision.on_failure
        if on_failure is not None:
            self._remember(transaction_id, on_failure)
        self._engine.forward(
            transaction_id,
            targets,
            decision.record_route,
            decision.ring_timeout,
            on_failure is not None,
            decision.recurse,
        )

    def _remember(self, transaction_id: int, on_failure: FailureHandler) -> None:
        handlers = self._failure_handlers
        if len(handlers) >= self._max_failure_handlers:
            # Dictionaries keep their order, so the first key is the oldest.
            del handlers[next(iter(handlers))]
        handlers[transaction_id] = on_failure

    def _forget(self, transaction_id: int) -> None:
        """The transaction needs no decision any more: it was cancelled or is over."""
        self._failure_handlers.pop(transaction_id, None)
        self._waiting.pop(transaction_id, None)
        self._runner.cancel(transaction_id)

    def _give_up(self, transaction_id: int, request: Request, error: BaseException) -> None:
        self._failure_handlers.pop(transaction_id, None)
        if isinstance(error, TooManySuspended):
            retry_after = (("Retry-After", str(RETRY_AFTER_S)),)
            self._engine.respond(transaction_id, 503, None, retry_after, b"")
            return
        logger.error(
            "policy failed for %s %s, Call-ID %s",
            request.method,
            request.uri,
            request.call_id,
            exc_info=error,
        )
        self._engine.count(POLICY_ERRORS, 1)
        self._engine.respond(transaction_id, 500, None, (), b"")


def _route_targets(targets: Target | Sequence[Target]) -> list[RouteTarget]:
    """The targets as the engine takes them. Raises TypeError for what is none."""
    if isinstance(targets, str | Uri) or hasattr(targets, "uri"):
        return [_route_target(targets)]  # type: ignore[arg-type]  # hasattr does not narrow
    return [_route_target(target) for target in targets]


def _route_target(target: Target) -> RouteTarget:
    if isinstance(target, str):
        return (target, 1000, (), None)
    if isinstance(target, Uri):
        return (str(target), 1000, (), None)
    try:
        return (target.uri, target.q_milli, target.path, target.flow)
    except AttributeError:
        raise TypeError(f"{target!r} is no target: a URI or a binding is") from None


def _uris(contacts: str | Uri | Sequence[str | Uri]) -> Sequence[str | Uri]:
    return (contacts,) if isinstance(contacts, str | Uri) else contacts
