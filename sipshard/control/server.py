"""The serving side of the control socket: one thread, bounded in every direction.

=====================  ======================================================================
bound                  what happens when it is reached
=====================  ======================================================================
CONNECTIONS            the connection that has been silent longest is closed for the new one
REQUEST_BYTES          an error is answered and the connection closed
ANSWERS_BYTES          the client is not read from until it has taken its answers
IDLE_S                 the connection is closed
=====================  ======================================================================
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from sipshard.control.protocol import REQUEST_BYTES, Answer, Request, RequestError, encode
from sipshard.control.protocol import parse_request as parse
from sipshard.log import logger

CONNECTIONS = 32
ANSWERS_BYTES = 1024 * 1024
IDLE_S = 30.0


@dataclass(slots=True, eq=False)
class _Connection:
    peer: socket.socket
    active_at: float
    unread: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)
    is_closing: bool = False


class ControlServer:
    """Answers requests with ``answer``. The owner calls :meth:`turn` in a loop.

    ``listener`` is bound and listening already and stays open. ``answer`` raises RequestError for
    what it cannot answer; anything else it raises is logged and answered as an internal error.
    """

    def __init__(
        self,
        listener: socket.socket,
        answer: Callable[[Request], Answer],
        clock: Callable[[], float],
    ) -> None:
        self._listener = listener
        self._answer = answer
        self._clock = clock
        self._connections: list[_Connection] = []
        self._selector = selectors.DefaultSelector()
        self.watch(listener, self._accept)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def watch(self, source: socket.socket | int, callback: Callable[[], None]) -> None:
        """Calls ``callback`` in :meth:`turn` whenever ``source`` can be read."""
        self._selector.register(source, selectors.EVENT_READ, callback)

    def turn(self, timeout_s: float) -> None:
        """Handles what is ready, after waiting at most ``timeout_s`` for it."""
        for key, mask in self._selector.select(timeout_s):
            if isinstance(key.data, _Connection):
                self._serve(key.data, mask)
            else:
                key.data()
        now = self._clock()
        for connection in [each for each in self._connections if now - each.active_at > IDLE_S]:
            self._close(connection)

    def close(self) -> None:
        """Closes all connections; the listener stays open for the next process."""
        for connection in list(self._connections):
            self._close(connection)
        self._selector.close()

    def _accept(self) -> None:
        try:
            peer, _address = self._listener.accept()
        except OSError:
            return
        peer.setblocking(False)
        if len(self._connections) >= CONNECTIONS:
            self._close(min(self._connections, key=lambda each: each.active_at))
        connection = _Connection(peer, self._clock())
        self._connections.append(connection)
        self._selector.register(peer, selectors.EVENT_READ, connection)

    def _serve(self, connection: _Connection, mask: int) -> None:
        connection.active_at = self._clock()
        try:
            if mask & selectors.EVENT_READ:
                self._read(connection)
            self._write(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._close(connection)
            return
        if connection.is_closing and not connection.unsent:
            self._close(connection)
        else:
            self._selector.modify(connection.peer, _interest(connection), connection)

    def _read(self, connection: _Connection) -> None:
        chunk = connection.peer.recv(REQUEST_BYTES)
        connection.is_closing = connection.is_closing or not chunk
        connection.unread += chunk
        while (end := connection.unread.find(b"\n")) >= 0:
            line = bytes(connection.unread[:end])
            del connection.unread[: end + 1]
            connection.unsent += encode(self._answer_line(line))
        if len(connection.unread) > REQUEST_BYTES:
            connection.unread.clear()
            connection.unsent += encode({"error": f"a request ends within {REQUEST_BYTES} bytes"})
            connection.is_closing = True

    def _write(self, connection: _Connection) -> None:
        if connection.unsent:
            sent = connection.peer.send(connection.unsent)
            del connection.unsent[:sent]

    def _answer_line(self, line: bytes) -> Answer:
        try:
            return self._answer(parse(line))
        except RequestError as error:
            return {"error": str(error)}
        except Exception:
            logger.exception("a control request failed: %r", line[:200])
            return {"error": "internal error, see the log"}

    def _close(self, connection: _Connection) -> None:
        self._connections.remove(connection)
        self._selector.unregister(connection.peer)
        connection.peer.close()


def _interest(connection: _Connection) -> int:
    is_reading = not connection.is_closing and len(connection.unsent) < ANSWERS_BYTES
    reading = selectors.EVENT_READ if is_reading else 0
    # A selector does not take an empty interest; writing is harmless, the socket has something.
    return reading | (selectors.EVENT_WRITE if connection.unsent or not reading else 0)
