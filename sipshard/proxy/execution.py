"""Carries out decisions: what policy returned becomes what the engine does.

A policy that raises, returns something else or asks for what cannot be costs its own request a
500 and a log line; nothing it does ends the worker.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias, final

from sipshard.log import logger
from sipshard.policy.decision import (
    FailureHandler,
    Forward,
    ForwardStateless,
    HeaderFields,
    Redirect,
    Reject,
    Respond,
    ResponseHandler,
    Save,
)
from sipshard.policy.edit import PlainEdit, plain_edits
from sipshard.policy.router import ANY_METHOD, Ready, Router, fill_in
from sipshard.policy.runner import MAX_SUSPENDED, SUSPENDED, Runner, TooManySuspended
from sipshard.proxy.client import OwnRequests
from sipshard.proxy.route_target import RouteTarget, route_target, route_targets
from sipshard.sip import Request, Response, Uri

Event: TypeAlias = tuple[str, int, Request | None, Response | None]
"""(kind, transaction, request, response); kind is one of these:

==============  ==================================================================
request         decide about it
failure         every branch failed, the response is the best: decide again
inspection      the response waits to go upstream until it was looked at
cancelled       a decision would come too late
settled         no failure and no response will come any more (without a request)
response        the response to a request of our own, whose number stands in place
timeout         of the transaction; or what else became of it
unreachable
==============  ==================================================================
"""

OWN_REQUEST_ENDS = frozenset({"response", "timeout", "unreachable"})

MAX_FORWARD_HANDLERS = 200_000
"""Forwarded requests whose on_failure and on_response are remembered; the oldest gives way."""

POLICY_ERRORS = "policy_errors"
"""The counter of the requests whose handler raised or decided nothing usable."""

UNINSPECTED = "uninspected_responses"
"""The counter of the responses that nobody looked at although a policy wanted to."""

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
        responses: tuple[Sequence[PlainEdit], bool] | None,
        recurse: bool,
    ) -> bool:
        """Proxies the request to ``targets``. Raises ValueError for an unusable URI."""

    def forward_stateless(self, transaction_id: int, to: RouteTarget) -> bool:
        """Proxies the request to ``to`` and forgets it. Raises ValueError for an unusable URI."""

    def refuse_merged(self, transaction_id: int) -> bool:
        """Answers 482 if another copy of the request is answered here (RFC 3261 §8.2.2.2)."""

    def inspected(self, transaction_id: int, changes: Sequence[PlainEdit]) -> bool:
        """Sends the oldest response upstream that was asked about, edited."""

    def pass_on(self, transaction_id: int) -> bool:
        """Sends the best response upstream."""

    def count(self, name: str, n: int) -> None:
        """Adds ``n`` to the counter of that name."""


class BindingsWriter(Protocol):
    """The registrar."""

    def save(self, transaction_id: int, request: Request, aor: str) -> None:
        """Applies a REGISTER and answers it."""


class ForwardHandlers(NamedTuple):
    """What a Forward keeps for later."""

    on_failure: FailureHandler | None
    on_response: ResponseHandler | None


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
        max_forward_handlers: int = MAX_FORWARD_HANDLERS,
        client: OwnRequests | None = None,
    ) -> None:
        self._engine = engine
        self._registrar = registrar
        self._services = services
        self._handlers: dict[str, Ready] = router.bind(services)
        self._any_handler = self._handlers.get(ANY_METHOD)
        self._allow = (("Allow", ", ".join(router.methods)),)
        self._runner = Runner(loop, self._resumed, max_suspended=max_suspended)
        self._waiting: dict[int, tuple[Request, Response | None]] = {}
        self._forward_handlers: dict[int, ForwardHandlers] = {}
        self._max_forward_handlers = max_forward_handlers
        self._client = client

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
            elif kind == "inspection" and request is not None and response is not None:
                self._inspect(transaction_id, request, response)
            elif kind in OWN_REQUEST_ENDS:
                if self._client is not None:
                    self._client.settle(kind, transaction_id, response)
            else:
                self._forget(transaction_id)

    def close(self) -> None:
        """Cancels the handlers that wait."""
        self._runner.close()
        self._waiting.clear()
        self._forward_handlers.clear()

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
        handlers = self._forward_handlers.pop(transaction_id, None)
        if handlers is None or handlers.on_failure is None:
            self._engine.pass_on(transaction_id)
            return
        try:
            ready = fill_in(handlers.on_failure, self._services, 2)
            decision = self._runner.run(transaction_id, ready, request, response)
            self._settle(transaction_id, request, response, decision)
        except Exception as error:
            self._give_up(transaction_id, request, error)

    def _inspect(self, transaction_id: int, request: Request, response: Response) -> None:
        """Shows a response to its policy. Whatever that does, the response goes upstream."""
        handlers = self._forward_handlers.get(transaction_id)
        try:
            changes: Sequence[PlainEdit] = ()
            if handlers is None or handlers.on_response is None:
                self._engine.count(UNINSPECTED, 1)
            else:
                changes = self._changes(handlers.on_response, request, response)
            self._engine.inspected(transaction_id, changes)
        except Exception as error:
            self._report(request, error)
            self._engine.inspected(transaction_id, ())

    def _changes(
        self, handler: ResponseHandler, request: Request, response: Response
    ) -> list[PlainEdit]:
        edits = fill_in(handler, self._services, 2)(request, response)
        if inspect.iscoroutine(edits):
            edits.close()
            raise TypeError("on_response returned a coroutine: a response cannot wait")
        return plain_edits(edits or ())

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
        elif isinstance(decision, ForwardStateless):
            self._engine.forward_stateless(transaction_id, route_target(decision.target))
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
            headers = (*contacts, *decision.headers)
            self._engine.respond(transaction_id, decision.code, None, headers, b"")
        else:
            raise TypeError(f"policy returned {decision!r}, which is no decision")

    def _respond(self, transaction_id: int, decision: Respond) -> None:
        if not self._engine.refuse_merged(transaction_id):
            self._engine.respond(
                transaction_id, decision.code, decision.reason, decision.headers, decision.body
            )

    def _forward(self, transaction_id: int, decision: Forward) -> None:
        targets = route_targets(decision)
        if not targets:
            self._engine.respond(transaction_id, 480, None, (), b"")
            return
        on_failure, on_response = decision.on_failure, decision.on_response
        if on_failure is not None or on_response is not None:
            self._remember(transaction_id, ForwardHandlers(on_failure, on_response))
        responses = None
        if decision.response_edits or on_response is not None:
            responses = (plain_edits(decision.response_edits), on_response is not None)
        self._engine.forward(
            transaction_id,
            targets,
            decision.record_route,
            decision.ring_timeout,
            on_failure is not None,
            responses,
            decision.recurse,
        )

    def _remember(self, transaction_id: int, handlers: ForwardHandlers) -> None:
        remembered = self._forward_handlers
        if len(remembered) >= self._max_forward_handlers:
            # Dictionaries keep their order, so the first key is the oldest.
            del remembered[next(iter(remembered))]
        remembered[transaction_id] = handlers

    def _forget(self, transaction_id: int) -> None:
        """The transaction needs no decision any more: it was cancelled or is over."""
        self._forward_handlers.pop(transaction_id, None)
        self._waiting.pop(transaction_id, None)
        self._runner.cancel(transaction_id)

    def _give_up(self, transaction_id: int, request: Request, error: BaseException) -> None:
        self._forward_handlers.pop(transaction_id, None)
        if isinstance(error, TooManySuspended):
            retry_after = (("Retry-After", str(RETRY_AFTER_S)),)
            self._engine.respond(transaction_id, 503, None, retry_after, b"")
            return
        self._report(request, error)
        self._engine.respond(transaction_id, 500, None, (), b"")

    def _report(self, request: Request, error: BaseException) -> None:
        logger.error(
            "policy failed for %s %s, Call-ID %s",
            request.method,
            request.uri,
            request.call_id,
            exc_info=error,
        )
        self._engine.count(POLICY_ERRORS, 1)


def _uris(contacts: str | Uri | Sequence[str | Uri]) -> Sequence[str | Uri]:
    return (contacts,) if isinstance(contacts, str | Uri) else contacts
