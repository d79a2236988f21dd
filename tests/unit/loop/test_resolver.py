"""Host names are resolved beside the loop, each once, a few at a time."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from sipshard.workers.resolver import NEGATIVE_TTL_S, POSITIVE_TTL_S, Resolver


class Answers:
    """The engine's side."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, list[str], int]] = []

    def resolved(self, host: str, addresses: Sequence[str], ttl_s: int) -> None:
        self.answers.append((host, list(addresses), ttl_s))


class Names:
    """A name server that answers when a test says so."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.asked: dict[str, asyncio.Future[Any]] = {}

    async def getaddrinfo(self, host: str, port: object, **hints: int) -> Any:
        self.asked[host] = self.loop.create_future()
        return await self.asked[host]

    def answer(self, host: str, *addresses: str) -> None:
        found = [(0, 0, 0, "", (address, 0)) for address in addresses]
        self.asked.pop(host).set_result(found)


class Fixture:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine = Answers()
        self.names = Names(self.loop)
        monkeypatch.setattr(self.loop, "getaddrinfo", self.names.getaddrinfo)
        self.resolver = Resolver(self.engine, self.loop, max_concurrent=2, max_waiting=3)

    def turn(self) -> None:
        for _ in range(6):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def resolve(self, *hosts: str) -> None:
        self.resolver.resolve(hosts)
        self.turn()


@pytest.fixture
def fixture(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fixture]:
    fixture = Fixture(monkeypatch)
    yield fixture
    fixture.resolver.close()
    fixture.turn()
    fixture.loop.close()


def test_addresses_come_in_their_order_and_once(fixture: Fixture) -> None:
    fixture.resolve("a.example.com")
    fixture.names.answer("a.example.com", "2001:db8::1", "192.0.2.1", "2001:db8::1")
    fixture.turn()
    expected = ("a.example.com", ["2001:db8::1", "192.0.2.1"], POSITIVE_TTL_S)
    assert fixture.engine.answers == [expected]


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")]
)
def test_a_name_that_does_not_resolve_is_kept_for_less(fixture: Fixture, error: Exception) -> None:
    fixture.resolve("a.example.com")
    fixture.names.asked["a.example.com"].set_exception(error)
    fixture.turn()
    assert fixture.engine.answers == [("a.example.com", [], NEGATIVE_TTL_S)]


def test_a_name_under_way_is_not_asked_again(fixture: Fixture) -> None:
    fixture.resolve("a.example.com", "a.example.com")
    first = fixture.names.asked["a.example.com"]
    fixture.resolve("a.example.com")
    assert fixture.names.asked["a.example.com"] is first
    fixture.names.answer("a.example.com", "192.0.2.1")
    fixture.turn()
    assert len(fixture.engine.answers) == 1
    fixture.resolve("a.example.com")
    assert "a.example.com" in fixture.names.asked


def test_only_so_many_are_under_way(fixture: Fixture) -> None:
    fixture.resolve("a", "b", "c")
    assert set(fixture.names.asked) == {"a", "b"}
    fixture.names.answer("a", "192.0.2.1")
    fixture.turn()
    assert set(fixture.names.asked) == {"b", "c"}


def test_beyond_the_bound_a_name_is_answered_as_unknown(fixture: Fixture) -> None:
    fixture.resolve("a", "b")
    fixture.resolve("c", "d", "e", "f")
    assert fixture.engine.answers == [("f", [], NEGATIVE_TTL_S)]
