"""A name server on loopback, and the part of a worker that asks it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

from sipshard.workers.dns.hosts_file import HostsFile
from sipshard.workers.dns.location import Family, Location, Question
from sipshard.workers.dns.records import NameServers
from sipshard.workers.dns.selection import Selection
from tests.name_server import HOST, NameServer, Zone

Result = TypeVar("Result")
BOTH: frozenset[Family] = frozenset({4, 6})


class Network:
    """One or more name servers with a zone each, asked in their order."""

    def __init__(self, folder: Path) -> None:
        self.zones = [Zone()]
        self.hosts = folder / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.listeners = {"udp": BOTH, "tcp": BOTH, "tls": BOTH}
        self.timeout_s = 5.0
        self.attempt_timeout_s = 1.0

    @property
    def zone(self) -> Zone:
        """The first server's."""
        return self.zones[0]

    def locate(
        self, host: str, port: int = 0, transport: str = "", *, is_secure: bool = False
    ) -> Location:
        """What is found by a question. Raises LookupFailedError."""
        question = Question(host, port, transport, is_secure)
        return self.run(lambda selection: selection.locate(question))

    def run(self, ask: Callable[[Selection], Awaitable[Result]]) -> Result:
        """Runs ``ask`` while the servers serve."""
        return asyncio.run(self._run(ask))

    async def _run(self, ask: Callable[[Selection], Awaitable[Result]]) -> Result:
        servers = [NameServer(zone) for zone in self.zones]
        for server in servers:
            await server.start()
        try:
            return await ask(self.selection([(HOST, server.port) for server in servers]))
        finally:
            for server in servers:
                await server.stop()

    def selection(self, servers: Sequence[tuple[str, int]]) -> Selection:
        """What a worker has."""
        records = NameServers(
            servers,
            attempt_timeout_s=self.attempt_timeout_s,
            timeout_s=self.timeout_s,
            resolv_conf=self.hosts.with_name("resolv.conf"),
        )
        hosts = HostsFile(self.hosts)
        timeout_s = self.timeout_s / 2
        return Selection(records, hosts, self.listeners, naptr_timeout_s=timeout_s)


@pytest.fixture
def network(tmp_path: Path) -> Network:
    return Network(tmp_path)
