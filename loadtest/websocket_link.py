"""The client's side of a WebSocket that carries SIP (RFC 6455, RFC 7118)."""

from __future__ import annotations

import os
import ssl
import struct
import time

from loadtest.link import PATIENCE_S, Address, StreamLink

# RFC 6455 §5.2.
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
# The key of RFC 6455 §1.3; a client that does not guard a browser may always say the same.
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class WebSocketLink(StreamLink):
    """A connection on which every message is one frame. The server sends no fragments."""

    def __init__(
        self, local: Address, server: Address, context: ssl.SSLContext | None, server_name: str
    ) -> None:
        super().__init__(local, server, context, server_name)
        self._open(server_name)

    def send(self, data: bytes, to: Address) -> None:
        self._send_frame(TEXT, data)

    def _send_frame(self, kind: int, data: bytes) -> None:
        """RFC 6455 §5.2: the last frame of its message, masked, because we are the client."""
        length = len(data)
        if length < 126:
            head = struct.pack("!BB", 0x80 | kind, 0x80 | length)
        else:
            head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, length)
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[place & 3] for place, byte in enumerate(data))
        super().send(head + mask + masked, self._server)

    def _open(self, server_name: str) -> None:
        lines = [
            "GET / HTTP/1.1",
            f"Host: {server_name}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {KEY}",
            "Sec-WebSocket-Protocol: sip",
            "Sec-WebSocket-Version: 13",
        ]
        super().send("\r\n".join([*lines, "", ""]).encode(), self._server)
        deadline = time.monotonic() + PATIENCE_S
        while b"\r\n\r\n" not in self._received:
            if not self._read_some() and not self._readable.poll(PATIENCE_S * 1000):
                raise TimeoutError("the server does not answer the upgrade")
            if time.monotonic() > deadline:
                raise TimeoutError("the server does not end its answer to the upgrade")
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 101 "):
            raise ConnectionRefusedError(head.partition(b"\r\n")[0].decode())
        self._received[:] = rest

    def _cut(self) -> bytes | None:
        """Takes the first whole message out of what was received, and answers pings before it."""
        while (frame := self._cut_frame()) is not None:
            kind, data = frame
            if kind == CLOSE:
                raise ConnectionResetError("the server has closed the WebSocket")
            if kind == PING:
                self._send_frame(PONG, data)
            elif kind in (TEXT, BINARY) and data.strip():
                return data
        return None

    def _cut_frame(self) -> tuple[int, bytes] | None:
        received = self._received
        if len(received) < 2:
            return None
        length, start = received[1], 2
        if length == 126:
            if len(received) < 4:
                return None
            length, start = struct.unpack_from("!H", received, 2)[0], 4
        if len(received) < start + length:
            return None
        kind, data = received[0] & 0x0F, bytes(received[start : start + length])
        del received[: start + length]
        return kind, data
