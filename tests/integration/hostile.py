"""Peers that mean no good: connections over which anything can be sent, and what comes back."""

from __future__ import annotations

import itertools
import re
import socket
import ssl
import struct
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Self

import trustme

from tests.integration.installation import HOST
from tests.integration.torture import (
    ANSWER_S,
    MESSAGE_TIMEOUT_S,
    SWEEP_S,
    Datagrams,
    Stream,
    TortureServer,
    is_alive,
)

ListenerName = Literal["tcp", "tls", "ws", "wss"]

HANDSHAKE_TIMEOUT_S = MESSAGE_TIMEOUT_S
# Until the server has surely closed what it was going to close for being late.
OVERDUE_S = MESSAGE_TIMEOUT_S + SWEEP_S + ANSWER_S
MAX_PER_SOURCE = 50
# What memory may differ for other reasons than a leak: allocators keep what was freed.
RSS_GROWTH_BYTES = 20 << 20
UPGRADE = (
    "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n"
    "Sec-WebSocket-Version: 13\r\n\r\n"
)
numbers = itertools.count()
MASK = b"\x5a\xa5\x00\xff"
# RFC 6455 §5.2
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


class HostileServer(TortureServer):
    """A server with every kind of listener that loses patience after a second."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        folder.mkdir(parents=True)
        authority = trustme.CA()
        pem = str(folder / "server.pem")
        authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(pem)
        self.trust = ssl.create_default_context()
        authority.configure_trust(self.trust)
        streams = [f"{name}:{HOST}:0" for name in ("tls", "ws", "wss")]
        listen = [f"udp:{self.address}", f"tcp:{self.address}", *streams]
        self.tables = {
            **self.tables,
            "server": {"listen": listen},
            "tls": {"certificates": [{"certificate": pem, "key": pem}]},
            "connections": {
                "message_timeout_s": MESSAGE_TIMEOUT_S,
                "handshake_timeout_s": HANDSHAKE_TIMEOUT_S,
                "max_per_source": MAX_PER_SOURCE,
                "queue_kb": 64,
            },
        }

    def port_of(self, listener: ListenerName) -> int:
        """The port of that listener."""
        listening: Sequence[str] = self.status()["listen"]
        return int(next(at for at in listening if at.startswith(f"{listener}:")).split(":")[-1])

    def count(self, name: str) -> int:
        """One counter of all workers."""
        return sum(self.counter(name))

    def wait_for_count(self, name: str, number: int) -> None:
        """Waits until a counter has that value: it is published a moment after what it counts."""
        self.wait_for(f"{name} is {number}", lambda: self.count(name) == number, ANSWER_S)

    def assert_unharmed(self, before: list[dict[str, Any]]) -> None:
        """Asserts that everybody is served, by the workers of ``before``, which have not grown."""
        assert is_alive(self, Datagrams, Stream), self.tail()
        self.assert_undamaged(before)
        self.wait_for("no connection is left", lambda: self._sum("connections") == 0)
        self.wait_for("no transaction is left", lambda: self._sum("transactions") == 0)
        self.wait_for("memory is back", lambda: self._growth_bytes(before) < RSS_GROWTH_BYTES, 5.0)

    def _growth_bytes(self, before: list[dict[str, Any]]) -> int:
        both = zip(self.workers_now(), before, strict=True)
        return max(int(now["rss_bytes"]) - int(then["rss_bytes"]) for now, then in both)

    def _sum(self, name: str) -> int:
        return sum(int(worker[name]) for worker in self.workers_now())


class Peer:
    """One connection from ``source``; with ``speaks_tls`` false TLS is left to who sends bytes."""

    def __init__(
        self,
        server: HostileServer,
        listener: ListenerName,
        source: str = "127.0.80.1",
        speaks_tls: bool = True,
    ) -> None:
        self.socket = socket.create_connection((HOST, server.port_of(listener)), 5.0, (source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if listener in ("tls", "wss") and speaks_tls:
            self.socket = server.trust.wrap_socket(self.socket, server_hostname=HOST)
        self.received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Sends, unless the server has closed the connection; what it thinks is read later."""
        # A server that closes early resets what comes after; that is its right.
        with suppress(ConnectionError, ssl.SSLError):
            self.socket.settimeout(5.0)
            self.socket.sendall(data)

    def reset(self) -> None:
        """Closes without saying goodbye."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def is_closed(self, patience_s: float = ANSWER_S) -> bool:
        """Whether the server closes the connection in time; what it says before is kept."""
        deadline = time.monotonic() + patience_s
        while (left_s := deadline - time.monotonic()) > 0:
            if self._is_at_its_end(left_s):
                return True
        return self._is_at_its_end(0.001)

    def read_until(self, pattern: bytes, patience_s: float = ANSWER_S) -> re.Match[bytes] | None:
        """The first place where ``pattern`` matches what has come; None if it does not in time."""
        deadline = time.monotonic() + patience_s
        while not (found := re.search(pattern, self.received, re.DOTALL)):
            left_s = deadline - time.monotonic()
            if left_s <= 0 or self._is_at_its_end(left_s):
                return re.search(pattern, self.received, re.DOTALL)
        return found

    @property
    def status(self) -> int | None:
        """The status code of the first SIP or HTTP response that has come or comes now."""
        found = self.read_until(rb"^(?:SIP/2\.0|HTTP/1\.1) (\d{3}) .*?\r\n\r\n")
        return int(found[1]) if found else None

    def upgrade(self) -> None:
        """Makes a WebSocket of it."""
        self.send(UPGRADE.encode())
        assert self.status == 101
        self.received = self.received.partition(b"\r\n\r\n")[2]

    @property
    def close_code(self) -> int | None:
        """The status code of the close frame that has come or comes now (RFC 6455 §7.4.1)."""
        found = self.read_until(rb"\x88\x02(..)")
        return int.from_bytes(found[1], "big") if found else None

    def _is_at_its_end(self, patience_s: float) -> bool:
        """Waits for more; whether there will be none."""
        self.socket.settimeout(patience_s)
        try:
            chunk = self.socket.recv(65536)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        except (ConnectionError, ssl.SSLError):
            return True
        self.received += chunk
        return not chunk


def frame(
    opcode: int, payload: bytes, *, first: int = 0x80, mask: bytes = MASK, length: int | None = None
) -> bytes:
    """A WebSocket frame (RFC 6455 §5.2).

    ``first`` has FIN and the reserved bits, an empty ``mask`` leaves the payload bare, and
    ``length`` is announced in place of the true one.
    """
    announced = len(payload) if length is None else length
    masked = 0x80 if mask else 0
    if announced < 126:
        head = struct.pack("!BB", first | opcode, masked | announced)
    elif announced < 1 << 16:
        head = struct.pack("!BBH", first | opcode, masked | 126, announced)
    else:
        head = struct.pack("!BBQ", first | opcode, masked | 127, announced)
    if not mask:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def options(fields: str = "", cseq: str = "1", caller: str = "<sip:x@127.0.0.1>;tag=1") -> bytes:
    """OPTIONS to the server itself, without Content-Length unless ``fields`` has one."""
    name = _name()
    return (
        f"OPTIONS sip:{HOST} SIP/2.0\r\nVia: SIP/2.0/TCP {HOST};branch=z9hG4bK-{name};rport\r\n"
        f"From: {caller}\r\nTo: <sip:{HOST}>\r\nCall-ID: {name}\r\n"
        f"CSeq: {cseq} OPTIONS\r\n{fields}\r\n"
    ).encode()


def fresh(message: bytes) -> bytes:
    """The same message as another request: with another branch and Call-ID."""
    return re.sub(rb"hostile-\d+", _name().encode(), message)


def _name() -> str:
    return f"hostile-{next(numbers):06}"


def client_hello() -> bytes:
    """How a TLS client begins."""
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    session = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=HOST)
    with suppress(ssl.SSLWantReadError):
        session.do_handshake()
    return outgoing.read()
