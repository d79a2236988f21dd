"""Transport, port and address of the server for a URI: RFC 3263 §4.1 and §4.2."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol, final

from sipshard.workers.dns.hosts_file import HostsFile
from sipshard.workers.dns.location import (
    MAX_HOPS,
    MAX_NEGATIVE_TTL_S,
    MAX_TTL_S,
    MIN_TTL_S,
    Family,
    Hop,
    Location,
    LookupFailedError,
    Question,
)
from sipshard.workers.dns.records import Found, Naptr, Srv, merge

HOSTS_TTL_S = 60
"""How long an address of the hosts file is kept; it says nothing about that itself."""

# In the order of our preference where the other side has none.
TRANSPORTS = ("udp", "tcp", "tls")
_DEFAULT_PORT = {"udp": 5060, "tcp": 5060, "tls": 5061}
_SRV_PREFIX = {"udp": "_sip._udp.", "tcp": "_sip._tcp.", "tls": "_sips._tcp."}
_NAPTR_SERVICE = {"SIP+D2U": "udp", "SIP+D2T": "tcp", "SIPS+D2T": "tls"}


class Records(Protocol):
    """Who knows the records; each question may raise LookupFailedError."""

    async def naptr(self, name: str) -> Found[Naptr]:
        """The NAPTR records of ``name``, best first."""

    async def srv(self, name: str) -> Found[Srv]:
        """The SRV records of ``name``, best first."""

    async def addresses(self, name: str, families: Iterable[Family]) -> Found[str]:
        """The addresses of ``name``."""


class _Service(NamedTuple):
    """A name with SRV records, and the transport that its servers speak."""

    transport: str
    name: str


class _Server(NamedTuple):
    """One server of a service; of a lower ``rank`` (service, then priority) is a better one."""

    rank: tuple[int, int]
    transport: str
    srv: Srv


@final
class Selection:
    """Answers questions. ``listeners`` gives the address families that we speak by transport.

    ``naptr_timeout_s`` bounds the first step: some networks lose questions for NAPTR, and then
    the rest must still have its time.
    """

    def __init__(
        self,
        records: Records,
        hosts: HostsFile,
        listeners: Mapping[str, frozenset[Family]],
        *,
        naptr_timeout_s: float,
    ) -> None:
        self._records = records
        self._hosts = hosts
        self._families = {each: listeners[each] for each in TRANSPORTS if each in listeners}
        self._naptr_timeout_s = naptr_timeout_s

    async def locate(self, question: Question) -> Location:
        """All ways to the server of ``question``. Raises LookupFailedError."""
        transports = self._transports_for(question)
        if not transports:
            return Location((), MAX_TTL_S)
        if question.port or self._hosts.addresses(question.host):
            return await self._by_address(question, transports[0])
        services = await self._services(question, transports)
        found = await self._servers(services)
        if found.records:
            return await self._by_servers(found)
        # §4.2: without SRV records the name itself has the addresses. The transport is then the
        # one of the NAPTR records, if there were any, else UDP, or TLS for sips (§4.1).
        return await self._by_address(question, services[0].transport)

    def _transports_for(self, question: Question) -> list[str]:
        """Those that may be used, in our order; sips goes over TLS and nothing else."""
        named = question.transport
        if question.is_secure:
            named = "tls" if named in ("", "tcp", "tls") else "none"
        return [each for each in self._families if named in ("", each)]

    async def _services(self, question: Question, transports: Sequence[str]) -> list[_Service]:
        """The names to ask for SRV records, best first; at least one."""
        host = question.host
        if not question.transport:
            services = await self._services_by_naptr(host, transports)
            if services:
                return services
        return [_Service(each, _SRV_PREFIX[each] + host) for each in transports]

    async def _services_by_naptr(self, host: str, transports: Sequence[str]) -> list[_Service]:
        """§4.1. A failure counts as no records: those who drop NAPTR questions know SRV."""
        try:
            async with asyncio.timeout(self._naptr_timeout_s):
                found = await self._records.naptr(host)
        except (LookupFailedError, TimeoutError):
            return []
        usable = [each for each in found.records if _transport(each) in transports]
        # RFC 3403 §4.1: what has a higher order is not looked at once something was usable.
        return [
            _Service(_transport(each), each.replacement)
            for each in usable
            if each.order == usable[0].order
        ]

    async def _servers(self, services: Sequence[_Service]) -> Found[_Server]:
        asked = [self._records.srv(service.name) for service in services]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        parts: list[Found[_Server] | BaseException] = []
        for index, (service, answer) in enumerate(zip(services, answers, strict=True)):
            if isinstance(answer, BaseException):
                parts.append(answer)
                continue
            servers = [
                _Server((index, srv.priority), service.transport, srv) for srv in answer.records
            ]
            parts.append(Found(servers, answer.ttl_s))
        return merge(parts)

    async def _by_servers(self, found: Found[_Server]) -> Location:
        servers = [each for each in found.records if not each.srv.is_refusal]
        asked = [self._addresses(each.srv.target, each.transport) for each in servers]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        addresses = merge(answers)
        ranks = sorted({server.rank for server in servers})
        hops: dict[tuple[str, str, int], Hop] = {}
        for server, answer in zip(servers, answers, strict=True):
            if isinstance(answer, BaseException):
                continue
            shares = _split(server.srv.weight, len(answer.records))
            for address, weight in zip(answer.records, shares, strict=True):
                key = (server.transport, address, server.srv.port)
                hops.setdefault(key, Hop(*key, ranks.index(server.rank), weight))
        return _location(hops.values(), min(found.ttl_s, addresses.ttl_s))

    async def _by_address(self, question: Question, transport: str) -> Location:
        port = question.port or _DEFAULT_PORT[transport]
        found = await self._addresses(question.host, transport)
        hops = [Hop(transport, address, port, 0, 0) for address in dict.fromkeys(found.records)]
        return _location(hops, found.ttl_s)

    async def _addresses(self, name: str, transport: str) -> Found[str]:
        families = self._families[transport]
        known = [each for each in self._hosts.addresses(name) if _family(each) in families]
        if known:
            return Found(known, HOSTS_TTL_S)
        return await self._records.addresses(name, families)


def _location(hops: Iterable[Hop], ttl_s: int) -> Location:
    best = sorted(hops, key=lambda hop: hop.priority)[:MAX_HOPS]
    longest_s = MAX_TTL_S if best else MAX_NEGATIVE_TTL_S
    return Location(best, max(MIN_TTL_S, min(ttl_s, longest_s)))


def _split(weight: int, count: int) -> list[int]:
    """A server's share does not grow with the number of its addresses; the sum stays the same."""
    return [weight * (index + 1) // count - weight * index // count for index in range(count)]


def _transport(record: Naptr) -> str:
    return _NAPTR_SERVICE.get(record.service, "")


def _family(address: str) -> Family:
    return 6 if ":" in address else 4
