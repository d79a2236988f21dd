"""The control server over real sockets, turned by hand."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sipshard.control.protocol import REQUEST_BYTES, Answer, Request, RequestError, StatusRequest
from sipshard.control.server import ANSWERS_BYTES, CONNECTIONS, IDLE_S, ControlServer


class Desk:
    """A server, its clock, and clients that wait for nothing."""

    def __init__(self, path: Path) -> None:
        self.now = 0.0
        self.asked: list[Request] = []
        self.answer: Answer = {"answer": 42}
        self.error: Exception | None = None
        self.path = str(path)
        self.clients: list[socket.socket] = []
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(self.path)
        self.listener.listen(CONNECTIONS * 2)
        self.listener.setblocking(False)
        self.server = ControlServer(self.listener, self.answered, lambda: self.now)

    def answered(self, request: Request) -> Answer:
        self.asked.append(request)
        if self.error is not None:
            raise self.error
        return self.answer

    def client(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.connect(self.path)
        connection.setblocking(False)
        self.clients.append(connection)
        self.turn()
        return connection

    def turn(self) -> None:
        """Lets the server do all that can be done."""
        for _ in range(10):
            self.server.turn(0)

    def close(self) -> None:
        self.server.close()
        for each in (*self.clients, self.listener):
            each.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    one = Desk(tmp_path / "control.sock")
    yield one
    one.close()


def answers(connection: socket.socket) -> list[Any]:
    return [json.loads(line) for line in connection.recv(1 << 20).splitlines()]


def is_closed(connection: socket.socket) -> bool:
    try:
        return connection.recv(1 << 20) == b""
    except BlockingIOError:
        return False


def test_one_line_one_answer(desk: Desk) -> None:
    client = desk.client()
    client.send(b'{"verb": "status"}\n')
    desk.turn()
    assert answers(client) == [{"answer": 42}]
    assert desk.asked == [StatusRequest()]


def test_a_line_may_come_in_pieces_and_several_at_once(desk: Desk) -> None:
    client = desk.client()
    for piece in (b'{"verb": ', b'"status"}', b'\n{"verb": "status"}\n{"ve'):
        client.send(piece)
        desk.turn()
    assert answers(client) == [{"answer": 42}] * 2
    client.send(b'rb": "status"}\n')
    desk.turn()
    assert answers(client) == [{"answer": 42}]


def test_garbage_gets_an_error_and_the_connection_goes_on(desk: Desk) -> None:
    client = desk.client()
    client.send(b'\x00\xff garbage\n{"verb": "status"}\n')
    desk.turn()
    assert answers(client) == [{"error": "the request is no JSON"}, {"answer": 42}]


def test_a_line_without_end_gets_an_error_and_the_door(desk: Desk) -> None:
    client = desk.client()
    sent = 0
    while sent <= REQUEST_BYTES:
        sent += client.send(b"x" * (REQUEST_BYTES + 1 - sent))
        desk.turn()
    assert "error" in answers(client)[0]
    assert is_closed(client)
    assert desk.asked == []


def test_the_longest_line_is_taken(desk: Desk) -> None:
    client = desk.client()
    line = b'{"verb": "status"}'
    client.send(line.ljust(REQUEST_BYTES - 1) + b"\n")
    desk.turn()
    assert answers(client) == [{"answer": 42}]


def test_a_refusal_is_told_and_a_bug_is_not(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    client = desk.client()
    for error in (RequestError("no such thing"), KeyError("secret")):
        desk.error = error
        client.send(b'{"verb": "status"}\n')
        desk.turn()
    assert answers(client) == [
        {"error": "no such thing"},
        {"error": "internal error, see the log"},
    ]
    assert "KeyError: 'secret'" in caplog.text


def test_who_hangs_up_is_forgotten(desk: Desk) -> None:
    client = desk.client()
    client.send(b'{"verb": "status"}\n{"verb"')
    client.close()
    desk.turn()
    assert desk.server.connections == 0


def test_who_says_nothing_is_closed(desk: Desk) -> None:
    client = desk.client()
    desk.now = IDLE_S
    desk.turn()
    assert not is_closed(client)
    desk.now = IDLE_S + 0.1
    desk.turn()
    assert is_closed(client)


def test_the_most_silent_makes_room(desk: Desk) -> None:
    first = desk.client()
    others = []
    for _ in range(CONNECTIONS - 1):
        desk.now += 0.01
        others.append(desk.client())
    assert not is_closed(first)
    desk.now += 0.01
    last = desk.client()
    assert is_closed(first)
    assert not any(is_closed(each) for each in (*others, last))
    assert desk.server.connections == CONNECTIONS


def test_who_does_not_take_his_answers_is_not_read_from(desk: Desk) -> None:
    client = desk.client()
    desk.answer = {"answer": "x" * (ANSWERS_BYTES // 2)}
    for _ in range(40):
        try:
            client.send(b'{"verb": "status"}\n')
        except BlockingIOError:
            break
        desk.turn()
    assert len(desk.asked) < 10
    # The others are served all the while.
    other = desk.client()
    desk.answer = {"answer": 1}
    other.send(b'{"verb": "status"}\n')
    desk.turn()
    assert answers(other) == [{"answer": 1}]
