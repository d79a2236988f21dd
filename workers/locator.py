"""Locates the next hops that the engine meets by name, without blocking the loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, final

from sipshard.config import Dns
from sipshard.log import logger
from sipshard.workers.dns.hosts_file import HostsFile
from sipshard.workers.dns.location import Family, Location, LookupFailedError, Question
from sipshard.workers.dns.records import NameServers
from sipshard.workers.dns.selection import Selection

MAX_CONCURRENT = 64
"""Lookups under way at one time; each has a few sockets open while the name servers think."""

MAX_WAITING = 1_000
"""Questions that may wait for one of them; those beyond have failed at once."""


class LocatingEngine(Protocol):
    """The part of the engine that gets the answers."""

    def located(
        self,
        host: str,
        port: int,
        transport: str,
        secure: bool,
        hops: Sequence[tuple[str, str, int, int, int]],
        ttl_s: int,
    ) -> None:
        """Tells the ways to ``host``; none means that there is no such service."""

    def lookup_failed(self, host: str, port: int, transport: str, secure: bool) -> None:
        """Tells that nothing could be learnt about ``host``."""


class Answering(Protocol):
    """Who knows the answers."""

    async def locate(self, question: Question) -> Location:
        """All ways to the server of ``question``. Raises LookupFailedError."""


@final
class Locator:
    """Answers each question once, however often it is asked meanwhile. For the loop's thread."""

    def __init__(
        self,
        engine: LocatingEngine,
        loop: asyncio.AbstractEventLoop,
        answering: Answering,
        *,
        timeout_s: float,
        max_concurrent: int = MAX_CONCURRENT,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._answering = answering
        self._timeout_s = timeout_s
        self._max_concurrent = max_concurrent
        self._max_waiting = max_waiting
        self._waiting: deque[Question] = deque()
        self._asked: set[Question] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    def locate(self, questions: Iterable[tuple[str, int, str, bool]]) -> None:
        """Answers each with ``engine.located`` or ``engine.lookup_failed``, now or later."""
        for question in map(Question._make, questions):
            if question in self._asked:
                continue
            if len(self._waiting) >= self._max_waiting:
                self._engine.lookup_failed(*question)
                continue
            self._asked.add(question)
            self._waiting.append(question)
        self._start_waiting()

    def close(self) -> None:
        """Gives up what is under way."""
        self._waiting.clear()
        for task in self._under_way:
            task.cancel()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._under_way) < self._max_concurrent:
            task = self._loop.create_task(self._look_up(self._waiting.popleft()))
            self._under_way.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._start_waiting()

    async def _look_up(self, question: Question) -> None:
        location: Location | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                location = await self._answering.locate(question)
        except (LookupFailedError, TimeoutError) as error:
            logger.info("%s cannot be looked up: %s", question.host, error or "no answer in time")
        except Exception:
            # Whoever waits for the answer must get one, whatever goes wrong here.
            logger.exception("the lookup of %s failed", question.host)
        finally:
            self._asked.discard(question)
        if location is None:
            self._engine.lookup_failed(*question)
        else:
            self._engine.located(*question, location.hops, location.ttl_s)


def make_locator(
    engine: LocatingEngine,
    loop: asyncio.AbstractEventLoop,
    settings: Dns,
    listeners: Iterable[tuple[str, str]],
) -> Locator:
    """The locator of a worker; ``listeners`` are transports with an address of ours each."""
    servers = NameServers(
        settings.servers,
        attempt_timeout_s=settings.attempt_timeout_s,
        timeout_s=settings.timeout_s,
    )
    selection = Selection(
        servers,
        HostsFile(),
        families_by_transport(listeners),
        naptr_timeout_s=settings.timeout_s / 2,
    )
    return Locator(engine, loop, selection, timeout_s=settings.timeout_s)


def families_by_transport(
    listeners: Iterable[tuple[str, str]],
) -> Mapping[str, frozenset[Family]]:
    """What can be sent from where we listen."""
    families: dict[str, frozenset[Family]] = {}
    for transport, host in listeners:
        family: Family = 6 if ":" in host else 4
        families[transport] = families.get(transport, frozenset()) | {family}
    return families
