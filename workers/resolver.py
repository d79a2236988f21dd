"""Resolves the host names that the engine meets, without blocking the loop.

getaddrinfo knows no time to live, so answers are kept for a fixed time. Names that do not resolve
are kept too, for less: a wrong name in one phone must not become a query per packet.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from typing import Protocol, final

from sipshard.log import logger

POSITIVE_TTL_S = 60
NEGATIVE_TTL_S = 10

MAX_CONCURRENT = 8
"""Lookups under way at one time: each holds a thread while the name server thinks."""

MAX_WAITING = 1_000
"""Names that may wait for one of them; those beyond are answered as unresolvable at once."""

LOOKUP_TIMEOUT_S = 10.0
"""After this a caller has given up or tried elsewhere (Timer B and F are 32 s for all tries)."""


class Resolving(Protocol):
    """The part of the engine that gets the answers."""

    def resolved(self, host: str, addresses: Sequence[str], ttl_s: int) -> None:
        """Tells the addresses of ``host``, best first; none means that it does not resolve."""


@final
class Resolver:
    """Answers each name once, however often it is asked for meanwhile. For the loop's thread."""

    def __init__(
        self,
        engine: Resolving,
        loop: asyncio.AbstractEventLoop,
        *,
        max_concurrent: int = MAX_CONCURRENT,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._max_concurrent = max_concurrent
        self._max_waiting = max_waiting
        self._waiting: deque[str] = deque()
        self._asked: set[str] = set()
        self._under_way: set[asyncio.Task[None]] = set()

    def resolve(self, hosts: Sequence[str]) -> None:
        """Answers each of ``hosts`` with ``engine.resolved``, now or later."""
        for host in hosts:
            if host in self._asked:
                continue
            if len(self._waiting) >= self._max_waiting:
                self._engine.resolved(host, (), NEGATIVE_TTL_S)
                continue
            self._asked.add(host)
            self._waiting.append(host)
        self._start_waiting()

    def close(self) -> None:
        """Gives up what is under way."""
        self._waiting.clear()
        for task in self._under_way:
            task.cancel()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._under_way) < self._max_concurrent:
            host = self._waiting.popleft()
            task = self._loop.create_task(self._look_up(host))
            self._under_way.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._start_waiting()

    async def _look_up(self, host: str) -> None:
        addresses: list[str] = []
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                found = await self._loop.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
            # A dictionary keeps the order of preference and drops what comes twice.
            addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        except (OSError, UnicodeError, TimeoutError) as error:
            logger.debug("%s does not resolve: %s", host, error)
        finally:
            self._asked.discard(host)
        self._engine.resolved(host, addresses, POSITIVE_TTL_S if addresses else NEGATIVE_TTL_S)
