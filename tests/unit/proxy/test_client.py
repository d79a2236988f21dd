"""Requests of the server's own, from a handler's ``await`` to the engine and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from sipshard import (
    Reject,
    Request,
    RequestFailed,
    RequestTimeout,
    Respond,
    Response,
    Router,
    TooManyRequests,
)
from sipshard.proxy.client import OwnRequests
from sipshard.proxy.execution import Execution
from sipshard.testing import request, response
from tests.unit.fakes import FakeEngine, Responded, Sent

TEXT = [("Content-Type", "text/plain")]


class RefusingEngine(FakeEngine):
    """Sends nothing."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def send_request(self, *arguments: Any) -> int:
        """Refuses."""
        raise self.error


class Fixture:
    """A worker whose only handler is ``handler(request, client)``."""

    def __init__(self, handler: Callable[..., object], engine: FakeEngine) -> None:
        self.engine = engine
        self.loop = asyncio.new_event_loop()
        client = OwnRequests(engine, self.loop, "sip:example.com")
        router = Router()
        router.request("INVITE")(handler)
        services = {"client": client, "location": None, "server": None}
        self.execution = Execution(engine, self, router, services, self.loop, client=client)

    def save(self, transaction_id: int, request: Request, aor: str) -> None:
        """No policy here saves."""

    def handle(self, *events: tuple[str, int, Request | None, Response | None]) -> None:
        """Gives events to the execution in the running loop, then lets the loop turn."""
        self.loop.call_soon(self.execution.handle, events)
        for _ in range(6):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    @property
    def statuses(self) -> list[int]:
        """What the handler decided."""
        return [each.status for each in self.engine.responses]


Make = Callable[..., Fixture]
ASKED = ("request", 7, request(), None)


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Fixture] = []

    def build(handler: Callable[..., object], engine: FakeEngine | None = None) -> Fixture:
        made.append(Fixture(handler, engine or FakeEngine()))
        return made[-1]

    yield build
    for fixture in made:
        fixture.execution.close()
        fixture.handle()
        fixture.loop.close()


async def notify(request: Request, client: Any) -> Respond:
    """Answers with the status that the message got."""
    answer = await client.request("MESSAGE", "sip:bob@b", headers=TEXT, body=b"hello")
    return Respond(answer.status)


async def careful(request: Request, client: Any) -> Respond | Reject:
    """Answers 504 when it gets no response."""
    try:
        return await notify(request, client)
    except (RequestTimeout, RequestFailed, TooManyRequests) as error:
        return Reject(504, type(error).__name__)


def test_the_response_comes_back_to_the_handler(make: Make) -> None:
    fixture = make(notify)
    fixture.handle(ASKED)
    uris = ("sip:bob@b", "sip:example.com", "sip:bob@b")
    assert fixture.engine.sent == [Sent("MESSAGE", uris, (), TEXT, b"hello")]
    fixture.handle(("response", 1, None, response(202, request("MESSAGE"))))
    assert fixture.engine.responses == [Responded(7, 202, None, [], b"")]
    assert fixture.engine.abandoned == []


def test_its_options_reach_the_engine(make: Make) -> None:
    async def handler(request: Request, client: Any) -> Respond:
        await client.request(
            "NOTIFY",
            request.uri,
            from_uri="sip:mwi@example.com",
            to_uri="sip:bob@example.com",
            route=["<sip:edge.example.net;lr>"],
        )
        return Respond(200)

    fixture = make(handler)
    fixture.handle(ASKED)
    uris = ("sip:bob@example.com", "sip:mwi@example.com", "sip:bob@example.com")
    expected = Sent("NOTIFY", uris, ("<sip:edge.example.net;lr>",), [], b"")
    assert fixture.engine.sent == [expected]


@pytest.mark.parametrize(
    ("kind", "name"), [("timeout", "RequestTimeout"), ("unreachable", "RequestFailed")]
)
def test_what_the_engine_tells_is_raised(make: Make, kind: str, name: str) -> None:
    fixture = make(careful)
    fixture.handle(ASKED)
    fixture.handle((kind, 1, None, None))
    assert fixture.engine.responses == [Responded(7, 504, name, [], b"")]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (BlockingIOError("too many"), "TooManyRequests"),
        (OSError("no way"), "RequestFailed"),
    ],
)
def test_what_the_engine_refuses_is_raised_at_once(make: Make, error: Exception, name: str) -> None:
    fixture = make(careful, RefusingEngine(error))
    fixture.handle(ASKED)
    assert fixture.engine.responses == [Responded(7, 504, name, [], b"")]


def test_a_mistake_is_a_500(make: Make) -> None:
    fixture = make(careful, RefusingEngine(ValueError("INVITE")))
    fixture.handle(ASKED)
    assert fixture.statuses == [500]


def test_the_handlers_own_limit_abandons_the_request(make: Make) -> None:
    async def handler(request: Request, client: Any) -> Reject:
        with pytest.raises(RequestTimeout, match="MESSAGE sip:bob@b: 0 s"):
            await client.request("MESSAGE", "sip:bob@b", timeout=0)
        return Reject(408)

    fixture = make(handler)
    fixture.handle(ASKED)
    assert fixture.statuses == [408]
    assert fixture.engine.abandoned == [1]
    fixture.handle(("response", 1, None, response(200, request())))
    assert fixture.statuses == [408]


def test_a_caller_who_hangs_up_abandons_the_request(make: Make) -> None:
    fixture = make(notify)
    fixture.handle(ASKED)
    fixture.handle(("cancelled", 7, request(), None))
    assert fixture.engine.abandoned == [1]
    assert fixture.statuses == []


def test_a_number_is_no_transaction(make: Make) -> None:
    """A request of our own with the number of a call that waits must not end that call."""

    async def handler(request: Request, client: Any) -> Respond:
        done: Coroutine[Any, Any, Response] = client.request("OPTIONS", "sip:bob@b")
        return Respond((await done).status)

    fixture = make(handler)
    fixture.handle(("request", 1, request(), None), ("request", 2, request(), None))
    fixture.handle(("timeout", 2, None, None), ("response", 1, None, response(200, request())))
    answers = {each.transaction_id: each.status for each in fixture.engine.responses}
    assert answers == {1: 200, 2: 500}
