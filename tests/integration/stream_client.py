"""A SIP user agent over one connection, as small as the tests of TLS need it."""

from __future__ import annotations

import itertools
import socket
import ssl
from types import TracebackType
from typing import Self

from sipshard.sip import Response

HOST = "127.0.0.1"
# A NATed phone shows such an address: nobody can connect to it.
UNREACHABLE = "198.18.0.1:5060"

_numbers = itertools.count(1)


class StreamClient:
    """One connection. ``receive`` waits for at most ``timeout_s``."""

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext | None = None,
        *,
        name: str = "server.example.com",
        preface: bytes = b"",
        session: ssl.SSLSession | None = None,
        timeout_s: float = 5.0,
    ) -> None:
        connection = socket.create_connection((HOST, port), timeout=timeout_s)
        connection.sendall(preface)
        self.transport = "TCP"
        self.socket: socket.socket = connection
        if context is not None:
            self.transport = "TLS"
            self.socket = context.wrap_socket(connection, server_hostname=name, session=session)
        self._received = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(
        self,
        method: str,
        uri: str,
        *,
        headers: tuple[str, ...] = (),
        call_id: str = "",
        to: str = "",
        caller: str = "",
        cseq: int = 1,
    ) -> str:
        """Sends a request; its Call-ID."""
        number = next(_numbers)
        call_id = call_id or f"stream-{number}"
        lines = (
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{self.transport} {UNREACHABLE};branch=z9hG4bKstream{number}",
            f"From: {caller or '<sip:caller@127.0.0.1>;tag=caller'}",
            f"To: {to or f'<{uri}>'}",
            f"Call-ID: {call_id}",
            f"CSeq: {cseq} {method}",
            "Max-Forwards: 70",
            *headers,
            "Content-Length: 0",
        )
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        return call_id

    def register(self, user: str) -> Response:
        """Registers with a contact that only this connection leads to."""
        aor = f"<sip:{user}@{HOST}>"
        contact = f"Contact: <sip:{user}@{UNREACHABLE};transport={self.transport.lower()}>"
        self.send("REGISTER", f"sip:{HOST}", headers=(contact,), to=aor, caller=f"{aor};tag=r")
        return self.response()

    def response(self) -> Response:
        """The next message, which is a final response."""
        while True:
            response = Response.parse(self.receive())
            if response.status >= 200:
                return response

    def receive(self) -> bytes:
        """The next message; raises ConnectionError when the connection has ended."""
        while True:
            head, separator, rest = self._received.partition(b"\r\n\r\n")
            if separator:
                fields = head.decode().lower().split("\r\n")
                lengths = [int(each[15:]) for each in fields if each.startswith("content-length:")]
                length = lengths[0] if lengths else 0
                if len(rest) >= length:
                    self._received = rest[length:]
                    return head + separator + rest[:length]
            if not (more := self.socket.recv(65536)):
                raise ConnectionError("the server has closed the connection")
            self._received += more

    def is_closed(self) -> bool:
        """Whether the server closes the connection within the time limit."""
        try:
            return self.socket.recv(65536) == b""
        except TimeoutError:
            return False
        except OSError:
            return True
