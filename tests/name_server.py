"""A name server for tests: a real one on the wire, with the records that a test gives it."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections import Counter
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

HOST = "127.0.0.1"


@dataclass
class Zone:
    """What a server knows: records by name and type, and how it misbehaves."""

    records: dict[tuple[str, str], dns.rrset.RRset] = field(default_factory=dict)
    rcodes: dict[str, dns.rcode.Rcode] = field(default_factory=dict)
    """Answers to every question about a name, or to all questions under "*"."""

    silent: set[str] = field(default_factory=set)
    """Names, or types, or "*", that get no answer."""

    negative_ttl_s: int = 77
    """The SOA's."""

    is_truncating: bool = False
    """Over UDP every answer is cut to nothing."""

    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    """How often each question came, over either transport."""

    streams: int = 0
    """Questions that came over TCP."""

    def add(self, name: str, record_type: str, *texts: str, ttl_s: int = 600) -> None:
        """Adds records, in the format of a zone file."""
        records = dns.rrset.from_text(f"{name}.", ttl_s, "IN", record_type, *texts)
        self.records[name, record_type] = records

    def answer(self, wire: bytes, *, is_stream: bool = False) -> bytes | None:
        """The answer to a question; None for silence."""
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True)
        record_type = dns.rdatatype.to_text(question.rdtype)
        self.asked[name, record_type] += 1
        self.streams += is_stream
        if {"*", name, record_type} & self.silent:
            return None
        response = dns.message.make_response(query, recursion_available=True)
        rcode = self.rcodes.get(name, self.rcodes.get("*"))
        if rcode is not None:
            response.set_rcode(rcode)
        elif self.is_truncating and not is_stream:
            response.flags |= dns.flags.TC
        else:
            self._fill(response, name, record_type)
        return response.to_wire(max_size=65535)

    def _fill(self, response: dns.message.Message, name: str, record_type: str) -> None:
        while (alias := self.records.get((name, "CNAME"))) is not None:
            response.answer.append(alias)
            name = alias[0].target.to_text(omit_final_dot=True)
        found = self.records.get((name, record_type))
        if found is not None:
            response.answer.append(found)
            return
        if not any(known == name for known, _ in self.records):
            response.set_rcode(dns.rcode.NXDOMAIN)
        ttl_s = self.negative_ttl_s
        soa = f"ns. admin. 1 3600 600 86400 {ttl_s}"
        zone = name.rpartition(".")[2]
        response.authority.append(dns.rrset.from_text(f"{zone}.", 86_400, "IN", "SOA", soa))


class NameServer(asyncio.DatagramProtocol):
    """Serves a zone over UDP and TCP on the running loop; :meth:`start` and :meth:`stop` it."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.port = 0

    async def start(self) -> None:
        """Binds the same free port for both transports."""
        loop = asyncio.get_running_loop()
        self._stream = await asyncio.start_server(self._serve_stream, HOST, 0)
        self.port = self._stream.sockets[0].getsockname()[1]
        address = (HOST, self.port)
        await loop.create_datagram_endpoint(lambda: self, address)

    async def stop(self) -> None:
        """Gives the port back."""
        self._transport.close()
        self._stream.close()
        await self._stream.wait_closed()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]  # it is UDP

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if (answer := self.zone.answer(data)) is not None:
            self._transport.sendto(answer, addr)

    async def _serve_stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
        answer = self.zone.answer(await reader.readexactly(length), is_stream=True)
        if answer is not None:
            writer.write(struct.pack("!H", len(answer)) + answer)
        writer.close()
        await writer.wait_closed()


class NameServerThread:
    """The same for tests without a loop, as a context manager; ``zone`` may change meanwhile."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self._server = NameServer(zone)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def address(self) -> str:
        """As the configuration names it."""
        return f"{HOST}:{self._server.port}"

    def __enter__(self) -> NameServerThread:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """Ends the server; from then on nobody answers at its port."""
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
