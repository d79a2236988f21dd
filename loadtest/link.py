"""How a phone's messages travel: datagrams, or one connection to the server with or without TLS.

Every link is used by two threads at a time, one that sends and one that receives.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
import threading
import time
from contextlib import suppress
from typing import Literal, Protocol

Address = tuple[str, int]
Transport = Literal["udp", "tcp", "tls", "ws", "wss"]

# How long a server may take to accept a connection, or to take what is sent to it: where much is
# lost, TCP itself waits for seconds before it tries again.
PATIENCE_S = 30.0
RECEIVE_BYTES = 65_536
CONTENT_LENGTH = re.compile(rb"^(?:content-length|l)[ \t]*:[ \t]*(\d+)", re.I | re.M)


class Link(Protocol):
    """What a phone needs of its transport. ``local`` is the address of our own end."""

    local: Address

    def send(self, data: bytes, to: Address) -> None:
        """Sends one message. Streams send to the server only. Raises OSError."""

    def receive(self, timeout_s: float) -> tuple[bytes, Address] | None:
        """The next message and its source; None after the timeout. Raises OSError at the end."""

    def close(self) -> None:
        """Ends the link; a thread that receives gets its OSError soon."""


class UdpLink:
    """One socket; the server may answer from any of its own."""

    def __init__(self, local: Address) -> None:
        family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.bind(local)
        self.local = self._socket.getsockname()[:2]

    def send(self, data: bytes, to: Address) -> None:
        self._socket.sendto(data, to)

    def receive(self, timeout_s: float) -> tuple[bytes, Address] | None:
        self._socket.settimeout(timeout_s)
        try:
            return self._socket.recvfrom(RECEIVE_BYTES)
        except TimeoutError:
            return None

    def close(self) -> None:
        # Wakes the receiver, which a mere close would leave in its system call.
        self._socket.sendto(b"", self._socket.getsockname())
        self._socket.close()


class StreamLink:
    """One connection, kept for the phone's life, with TLS when there is a ``context``."""

    def __init__(
        self, local: Address, server: Address, context: ssl.SSLContext | None, server_name: str
    ) -> None:
        plain = socket.create_connection(server, PATIENCE_S, local)
        # Messages are written whole, so nothing is gained by waiting for more.
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname=server_name) if context else plain
        # One TLS session must not be used by two threads at once, and neither may wait with the
        # lock in its hand: the socket never blocks, waiting is done by the poll objects.
        self._socket.setblocking(False)
        self._lock = threading.Lock()
        self._readable = _poll(self._socket, select.POLLIN)
        self._writable = _poll(self._socket, select.POLLOUT)
        self._server = server
        self._received = bytearray()
        self.local = self._socket.getsockname()[:2]

    def send(self, data: bytes, to: Address) -> None:
        # Messages of two threads must not get into each other.
        with self._lock:
            while data:
                try:
                    data = data[self._socket.send(data) :]
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    if not self._writable.poll(PATIENCE_S * 1000):
                        raise TimeoutError("the server does not read") from None

    def receive(self, timeout_s: float) -> tuple[bytes, Address] | None:
        deadline = time.monotonic() + timeout_s
        while (message := self._cut()) is None:
            if self._read_some():
                continue
            left_s = deadline - time.monotonic()
            if left_s <= 0 or not self._readable.poll(left_s * 1000):
                return None
        return message, self._server

    def close(self) -> None:
        # Wakes the receiver; fails only when the server was quicker.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _read_some(self) -> bool:
        """Whether something was there to be read."""
        try:
            with self._lock:
                chunk = self._socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        if not chunk:
            raise ConnectionResetError("the server has closed the connection")
        self._received += chunk
        return True

    def _cut(self) -> bytes | None:
        """Takes the first whole message out of what was received (RFC 3261 §18.3)."""
        # RFC 3261 §7.5: line ends before a message are skipped; they are also keepalives.
        while self._received[:2] == b"\r\n":
            del self._received[:2]
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        length = CONTENT_LENGTH.search(self._received, 0, head_end)
        end = head_end + 4 + (int(length[1]) if length else 0)
        if len(self._received) < end:
            return None
        message = bytes(self._received[:end])
        del self._received[:end]
        return message


def _poll(of: socket.socket, events: int) -> select.poll:
    poll = select.poll()
    poll.register(of, events)
    return poll
