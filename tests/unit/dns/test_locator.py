"""Questions are answered beside the loop, each once, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from sipshard.workers.dns.location import Hop, Location, LookupFailedError, Question
from sipshard.workers.locator import Locator, families_by_transport
from tests.unit.dns.conftest import Network

HOP = Hop("udp", "192.0.2.1", 5060, 0, 0)


class Answers:
    """The engine's side."""

    def __init__(self) -> None:
        self.located_hosts: dict[str, list[object]] = {}
        self.failed: list[tuple[str, int, str, bool]] = []

    def located(
        self,
        host: str,
        port: int,
        transport: str,
        secure: bool,
        hops: Sequence[tuple[str, str, int, int, int]],
        ttl_s: int,
    ) -> None:
        assert host not in self.located_hosts, "answered twice"
        self.located_hosts[host] = [port, transport, secure, list(hops), ttl_s]

    def lookup_failed(self, host: str, port: int, transport: str, secure: bool) -> None:
        self.failed.append((host, port, transport, secure))


class Names:
    """Knows what a test says, when it says so."""

    def __init__(self) -> None:
        self.asked: dict[str, asyncio.Future[Location]] = {}

    async def locate(self, question: Question) -> Location:
        self.asked[question.host] = asyncio.get_running_loop().create_future()
        return await self.asked[question.host]

    def answer(self, host: str) -> None:
        self.asked.pop(host).set_result(Location([HOP], 60))


class Fixture:
    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.engine = Answers()
        self.names = Names()
        self.locator = Locator(
            self.engine, self.loop, self.names, timeout_s=60, max_concurrent=2, max_waiting=3
        )

    def turn(self) -> None:
        for _ in range(6):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def locate(self, *hosts: str) -> None:
        self.locator.locate((host, 5060, "udp", False) for host in hosts)
        self.turn()


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    fixture = Fixture()
    yield fixture
    fixture.locator.close()
    fixture.turn()
    fixture.loop.close()


def test_an_answer_names_its_question(fixture: Fixture) -> None:
    fixture.locate("a")
    fixture.names.answer("a")
    fixture.turn()
    assert fixture.engine.located_hosts == {"a": [5060, "udp", False, [HOP], 60]}


@pytest.mark.parametrize("error", [LookupFailedError("no"), TimeoutError(), RuntimeError("a bug")])
def test_a_failure_is_an_answer(fixture: Fixture, error: Exception) -> None:
    fixture.locate("a")
    fixture.names.asked.pop("a").set_exception(error)
    fixture.turn()
    assert fixture.engine.failed == [("a", 5060, "udp", False)]
    fixture.locate("a")
    assert "a" in fixture.names.asked, "it may be asked again"


def test_a_question_under_way_is_not_asked_again(fixture: Fixture) -> None:
    fixture.locate("a", "a")
    first = fixture.names.asked["a"]
    fixture.locate("a")
    assert fixture.names.asked["a"] is first
    fixture.names.answer("a")
    fixture.turn()
    assert len(fixture.engine.located_hosts) == 1


def test_only_so_many_are_under_way(fixture: Fixture) -> None:
    fixture.locate("a", "b", "c")
    assert set(fixture.names.asked) == {"a", "b"}
    fixture.names.answer("a")
    fixture.turn()
    assert set(fixture.names.asked) == {"b", "c"}


def test_beyond_the_bound_a_question_has_failed(fixture: Fixture) -> None:
    fixture.locate("a", "b")
    fixture.locate("c", "d", "e", "f")
    assert fixture.engine.failed == [("f", 5060, "udp", False)]


def test_a_lookup_has_a_limit(fixture: Fixture) -> None:
    fixture.locator = Locator(fixture.engine, fixture.loop, fixture.names, timeout_s=0)
    fixture.locate("a")
    assert fixture.engine.failed == [("a", 5060, "udp", False)]


def test_a_hundred_names_at_once_are_all_answered(network: Network) -> None:
    for number in range(100):
        network.zone.add(f"host{number}.example.net", "A", "192.0.2.1")
    engine = Answers()
    hosts = [f"host{number}.example.net" for number in range(100)]

    async def ask(selection: object) -> int:
        loop = asyncio.get_running_loop()
        locator = Locator(engine, loop, selection, timeout_s=30)  # type: ignore[arg-type]  # it is one
        locator.locate((host, 5060, "udp", False) for host in hosts)
        most = 0
        while len(engine.located_hosts) < 100:
            most = max(most, len(locator._under_way))
            await asyncio.sleep(0)
        return most

    assert network.run(ask) == 64
    assert not engine.failed


def test_we_speak_what_we_listen_to() -> None:
    listeners = [("udp", "192.0.2.1"), ("udp", "::1"), ("tcp", "192.0.2.1")]
    assert families_by_transport(listeners) == {"udp": {4, 6}, "tcp": {4}}
