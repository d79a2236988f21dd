"""The asking side, against a peer that says what the test wants."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sipshard.control.client import ask
from sipshard.control.protocol import SOCKET_NAME, StatusRequest
from sipshard.errors import NotRunningError, SipshardError

Peer = Callable[[bytes], None]


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    """Answers one connection with the given bytes, then hangs up."""
    threads: list[threading.Thread] = []
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / SOCKET_NAME))
    listener.listen()

    def serve(answer: bytes) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(answer)

    def start(answer: bytes) -> None:
        threads.append(threading.Thread(target=serve, args=(answer,)))
        threads[-1].start()

    yield start
    for thread in threads:
        thread.join()
    listener.close()


def test_an_answer(tmp_path: Path, peer: Peer) -> None:
    peer(b'{"workers": []}\n')
    assert ask(tmp_path, StatusRequest()) == {"workers": []}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b'{"error": "no such verb"}\n', "the server refuses: no such verb"),
        (b"", "no JSON"),
        (b'{"workers": [', "no JSON"),
        (b"[]\n", "no object"),
    ],
)
def test_an_answer_that_is_none(tmp_path: Path, peer: Peer, answer: bytes, message: str) -> None:
    peer(answer)
    with pytest.raises(SipshardError, match=message):
        ask(tmp_path, StatusRequest())


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(NotRunningError, match="no server is running") as caught:
        ask(tmp_path, StatusRequest())
    assert caught.value.exit_code == 1


def test_a_socket_that_a_dead_server_left(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / SOCKET_NAME))
    with pytest.raises(NotRunningError):
        ask(tmp_path, StatusRequest())
