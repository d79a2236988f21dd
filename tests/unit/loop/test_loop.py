"""The loop serves through the engine and stays an ordinary asyncio loop."""

from __future__ import annotations

import asyncio
import select
import selectors
import socket
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sipshard.proxy.execution import Event
from sipshard.testing import request
from sipshard.workers.loop import EngineLoop, EngineSelector


class PollingEngine:
    """An engine that serves nothing and watches descriptors with epoll."""

    def __init__(self) -> None:
        self.poller = select.epoll()
        self.waiting_events: list[Event] = []
        self.waiting_lookups: list[tuple[str, int, str, bool]] = []
        self.runs = 0

    def run(self, timeout_s: float | None) -> list[tuple[int, int]]:
        self.runs += 1
        if self.waiting_events or self.waiting_lookups:
            timeout_s = 0
        ready = self.poller.poll(timeout_s)
        return [(fd, _mask(events)) for fd, events in ready]

    def events(self) -> Sequence[Event]:
        taken, self.waiting_events = self.waiting_events, []
        return taken

    def lookups(self) -> list[tuple[str, int, str, bool]]:
        taken, self.waiting_lookups = self.waiting_lookups, []
        return taken

    def register(self, fd: int, mask: int) -> None:
        self.poller.register(fd, _events(mask))

    def modify(self, fd: int, mask: int) -> None:
        self.poller.modify(fd, _events(mask))

    def unregister(self, fd: int) -> None:
        self.poller.unregister(fd)


def _mask(events: int) -> int:
    read = selectors.EVENT_READ if events & ~select.EPOLLOUT else 0
    return read | (selectors.EVENT_WRITE if events & ~select.EPOLLIN else 0)


def _events(mask: int) -> int:
    read = select.EPOLLIN if mask & selectors.EVENT_READ else 0
    return read | (select.EPOLLOUT if mask & selectors.EVENT_WRITE else 0)


@pytest.fixture
def engine() -> Iterator[PollingEngine]:
    engine = PollingEngine()
    yield engine
    engine.poller.close()


@pytest.fixture
def selector(engine: PollingEngine) -> Iterator[EngineSelector]:
    selector = EngineSelector(engine)
    yield selector
    selector.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


class TestSelector:
    def test_a_ready_descriptor_is_returned_with_its_key(
        self, selector: EngineSelector, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        left, right = pair
        key = selector.register(left, selectors.EVENT_READ, "data")
        right.send(b"x")
        assert selector.select(None) == [(key, selectors.EVENT_READ)]
        assert selector.get_map()[left.fileno()] is selector.get_key(left) is key

    def test_modify_changes_what_is_watched(
        self, selector: EngineSelector, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        left, _ = pair
        selector.register(left, selectors.EVENT_READ)
        key = selector.modify(left, selectors.EVENT_WRITE, "data")
        assert selector.select(0) == [(key, selectors.EVENT_WRITE)]

    def test_unregister_forgets(
        self, selector: EngineSelector, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        left, right = pair
        selector.register(left, selectors.EVENT_READ)
        selector.unregister(left)
        right.send(b"x")
        assert selector.select(0) == []
        with pytest.raises(KeyError):
            selector.get_key(left)

    def test_a_closed_socket_can_still_be_unregistered(self, selector: EngineSelector) -> None:
        left, right = socket.socketpair()
        selector.register(left.fileno(), selectors.EVENT_READ)
        selector.register(right, selectors.EVENT_READ)
        assert selector.get_key(right).fileobj is right
        fd = left.fileno()
        selector.unregister(fd)
        selector.unregister(right)
        left.close()
        right.close()
        with pytest.raises(KeyError):
            selector.get_key(right)

    def test_nothing_is_registered_twice_or_for_nothing(
        self, selector: EngineSelector, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        left, right = pair
        selector.register(left, selectors.EVENT_READ)
        with pytest.raises(KeyError):
            selector.register(left, selectors.EVENT_READ)
        with pytest.raises(ValueError, match="invalid events"):
            selector.register(right, 0)

    def test_what_a_decision_unregisters_is_not_returned(
        self,
        engine: PollingEngine,
        selector: EngineSelector,
        pair: tuple[socket.socket, socket.socket],
    ) -> None:
        left, right = pair
        selector.register(left, selectors.EVENT_READ)
        right.send(b"x")
        engine.waiting_events.append(("request", 1, request(), None))
        selector.attach(lambda events: selector.unregister(left) and None, lambda questions: None)
        assert selector.select(0) == []

    def test_it_goes_on_serving_after_a_decision_that_scheduled_nothing(
        self, engine: PollingEngine, selector: EngineSelector
    ) -> None:
        decided: list[Sequence[Event]] = []

        def decide(events: Sequence[Event]) -> None:
            decided.append(events)
            if len(decided) < 3:
                engine.waiting_events.append(("request", 1, request(), None))
            else:
                selector.return_soon()

        selector.attach(decide, lambda questions: None)
        engine.waiting_events.append(("request", 1, request(), None))
        assert selector.select(None) == []
        assert len(decided) == 3

    def test_its_timers_run_in_their_order(self, selector: EngineSelector) -> None:
        ran: list[str] = []

        def last() -> None:
            ran.append("last")
            selector.return_soon()

        selector.call_later(0.002, last)
        selector.call_later(0.001, lambda: ran.append("first"))
        selector.call_later(0.001, lambda: ran.append("second"))
        selector.call_later(0.001, lambda: 1 // 0)
        assert selector.select(None) == []
        assert ran == ["first", "second", "last"]

    def test_another_thread_gets_its_call_in(self, selector: EngineSelector) -> None:
        ran: list[object] = []

        def callback(value: str) -> None:
            ran.append((value, threading.get_ident()))
            selector.return_soon()

        posting = threading.Thread(target=selector.call_soon_threadsafe, args=(callback, "posted"))
        posting.start()
        assert selector.select(None) == []
        posting.join()
        assert ran == [("posted", threading.get_ident())]

    def test_a_posted_call_that_raises_costs_no_other(self, selector: EngineSelector) -> None:
        selector.call_soon_threadsafe(lambda: 1 // 0)
        selector.call_soon_threadsafe(selector.return_soon)
        assert selector.select(None) == []

    def test_a_closed_one_takes_no_calls(self, selector: EngineSelector) -> None:
        selector.close()
        with pytest.raises(RuntimeError, match="closed"):
            selector.call_soon_threadsafe(print)


class TestLoop:
    def test_events_and_lookups_are_handed_on(
        self, engine: PollingEngine, selector: EngineSelector
    ) -> None:
        loop = EngineLoop(selector)
        seen: list[Any] = []
        selector.attach(seen.extend, seen.extend)
        event: Event = ("request", 1, request(), None)
        engine.waiting_events.append(event)
        question = ("example.com", 0, "udp", False)
        engine.waiting_lookups.append(question)
        loop.run_until_complete(asyncio.sleep(0))
        assert seen == [event, question]
        loop.close()

    def test_a_decision_runs_inside_the_running_loop(
        self, engine: PollingEngine, selector: EngineSelector
    ) -> None:
        loop = EngineLoop(selector)
        seen: list[object] = []

        def decide(events: Sequence[Event]) -> None:
            seen.append(asyncio.get_running_loop())
            loop.call_soon(loop.stop)

        selector.attach(decide, lambda questions: None)
        engine.waiting_events.append(("request", 1, request(), None))
        loop.run_forever()
        assert seen == [loop]
        loop.close()

    def test_asyncio_works_on_it(self, selector: EngineSelector) -> None:
        """Streams, timers, threads: what a policy may use."""
        loop = EngineLoop(selector)

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(100))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        async def main() -> bytes:
            server = await asyncio.start_server(echo, "127.0.0.1", 0)
            async with server:
                port = server.sockets[0].getsockname()[1]
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(await asyncio.to_thread(lambda: b"hello"))
                answer = await reader.read(100)
                writer.close()
                await writer.wait_closed()
            await asyncio.sleep(0.001)
            return answer

        assert loop.run_until_complete(main()) == b"hello"
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
        assert not selector.get_map()

    def test_another_thread_wakes_it(self, engine: PollingEngine, selector: EngineSelector) -> None:
        """The committer's way back: one wake-up, not a timeout."""
        loop = EngineLoop(selector)

        async def main() -> str:
            future: asyncio.Future[str] = loop.create_future()
            await asyncio.to_thread(loop.call_soon_threadsafe, future.set_result, "woken")
            return await future

        assert loop.run_until_complete(main()) == "woken"
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()
