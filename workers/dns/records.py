"""Asking name servers for the records that RFC 3263 needs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar, final

import dns.asyncbackend
import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.resolver

from sipshard.log import logger
from sipshard.workers.dns.location import MAX_TTL_S, Family, LookupFailedError
from sipshard.workers.dns.watched_file import WatchedFile

RESOLV_CONF = Path("/etc/resolv.conf")

MAX_RECORDS = 16
"""So many records of one set are followed, the best ones."""

_UDP_PAYLOAD_BYTES = 1_232
"""Larger answers come by TCP: this much passes without being fragmented (RFC 9715 §3)."""

_TYPES: dict[Family, str] = {4: "A", 6: "AAAA"}

Record = TypeVar("Record")


class Naptr(NamedTuple):
    """A NAPTR record (RFC 3403 §4.1) that leads to SRV records, that is with the flag "s"."""

    order: int
    preference: int
    service: str
    replacement: str


class Srv(NamedTuple):
    """An SRV record (RFC 2782)."""

    priority: int
    weight: int
    port: int
    target: str

    @property
    def is_refusal(self) -> bool:
        """Whether it says that the service is decidedly not there (RFC 2782: target ".")."""
        return self.target == "."


class Found(NamedTuple, Generic[Record]):
    """The records of a name. Without any: for how long that is so."""

    records: Sequence[Record]
    ttl_s: int


@final
class NameServers:
    """Asks each server in turn until one answers; what was found is cached by others."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int]],
        *,
        attempt_timeout_s: float,
        timeout_s: float,
        resolv_conf: Path = RESOLV_CONF,
    ) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.timeout = attempt_timeout_s
        self._resolver.lifetime = timeout_s
        self._resolver.use_edns(0, 0, _UDP_PAYLOAD_BYTES)
        self._resolver.nameservers = [dns.nameserver.Do53Nameserver(*each) for each in servers]
        self._resolv_conf = None if servers else WatchedFile(resolv_conf)
        self._backend = dns.asyncbackend.get_backend("asyncio")

    async def naptr(self, name: str) -> Found[Naptr]:
        """The NAPTR records of ``name``, best first. Raises LookupFailedError."""
        found = await self._ask(name, "NAPTR", _naptr)
        is_ours = [each for each in found.records if each is not None]
        return Found(sorted(is_ours)[:MAX_RECORDS], found.ttl_s)

    async def srv(self, name: str) -> Found[Srv]:
        """The SRV records of ``name``, best first. Raises LookupFailedError."""
        found = await self._ask(name, "SRV", _srv)
        return Found(sorted(found.records)[:MAX_RECORDS], found.ttl_s)

    async def addresses(self, name: str, families: Iterable[Family]) -> Found[str]:
        """The addresses of ``name``, both families asked at the same time.

        Raises LookupFailedError when none was found and a question failed: servers exist that
        answer every question for AAAA with a failure, and their A must do then.
        """
        asked = [self._ask(name, _TYPES[family], _address) for family in sorted(families)]
        return merge(await asyncio.gather(*asked, return_exceptions=True))

    async def _ask(
        self, name: str, record_type: str, read: Callable[[Any], Record]
    ) -> Found[Record]:
        self._follow_resolv_conf()
        try:
            absolute = dns.name.from_text(name)
        except dns.exception.DNSException:
            # A label of 64 octets, two dots in a row: there can be no such name.
            return Found((), MAX_TTL_S)
        try:
            answer = await self._resolver.resolve(
                absolute, record_type, raise_on_no_answer=False, backend=self._backend
            )
        except dns.resolver.NXDOMAIN as error:
            response: dns.message.QueryMessage = error.response(absolute)  # type: ignore[no-untyped-call]
            return Found((), response.resolve_chaining().minimum_ttl)
        except (dns.exception.DNSException, OSError) as error:
            raise LookupFailedError(f"{name} {record_type}: {error}") from error
        records = [read(record) for record in answer.rrset or ()]
        return Found(records, answer.chaining_result.minimum_ttl)

    def _follow_resolv_conf(self) -> None:
        """A server runs for years, and the machine's name servers change meanwhile."""
        if self._resolv_conf is None or not self._resolv_conf.has_changed():
            return
        timeout_s, lifetime_s = self._resolver.timeout, self._resolver.lifetime
        try:
            self._resolver.read_resolv_conf(str(self._resolv_conf.path))
        except dns.resolver.NoResolverConfiguration:
            self._resolver.nameservers = []
            logger.warning("%s names no name server", self._resolv_conf.path)
        # Its options are for programs that may wait; ours are in the configuration.
        self._resolver.timeout, self._resolver.lifetime = timeout_s, lifetime_s
        self._resolver.use_edns(0, 0, _UDP_PAYLOAD_BYTES)


def merge(parts: Iterable[Found[Record] | BaseException]) -> Found[Record]:
    """Joins what several questions found. One failure does not spoil what others have found.

    Raises LookupFailedError when nothing was found and a question failed.
    """
    answered: list[Found[Record]] = []
    failure: LookupFailedError | None = None
    for part in parts:
        if isinstance(part, LookupFailedError):
            failure = part
        elif isinstance(part, BaseException):
            raise part
        else:
            answered.append(part)
    records = [record for part in answered for record in part.records]
    if not records and failure is not None:
        raise failure
    # Records live as long as the shortest of them, and do not depend on what was not found.
    relevant = [part.ttl_s for part in answered if part.records or not records]
    return Found(records, min(relevant, default=MAX_TTL_S))


def _naptr(record: Any) -> Naptr | None:
    """None for what is not for SIP: RFC 3263 §4.1 knows the flag "s" only, without a regexp."""
    if record.flags.lower() != b"s" or record.regexp:
        return None
    service = record.service.decode("latin-1").upper()
    return Naptr(record.order, record.preference, service, record.replacement.to_text())


def _srv(record: Any) -> Srv:
    return Srv(record.priority, record.weight, record.port, record.target.to_text())


def _address(record: Any) -> str:
    return str(record.address)
