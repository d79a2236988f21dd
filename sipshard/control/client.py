"""The asking side of the control socket, as the command line uses it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

from sipshard.control.protocol import SOCKET_NAME, Answer, Request, encode_request
from sipshard.errors import NotRunningError, SipshardError

_TIMEOUT_S = 5.0
_CHUNK_BYTES = 64 * 1024


def ask(runtime_dir: Path, request: Request) -> Answer:
    """Sends one request and returns the answer.

    Raises NotRunningError when nobody listens, SipshardError when the server refuses the request
    or does not answer.
    """
    path = runtime_dir / SOCKET_NAME
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT_S)
        try:
            connection.connect(str(path))
        except PermissionError:
            raise SipshardError(f"{path} belongs to another user") from None
        except OSError:
            raise NotRunningError(f"no server is running: nobody answers at {path}") from None
        try:
            connection.sendall(encode_request(request))
            line = _line(connection)
        except TimeoutError:
            raise SipshardError(f"no answer from {path} within {_TIMEOUT_S:g} s") from None
        except OSError as error:
            raise SipshardError(f"{path}: {error.strerror}") from None
    return _understood(path, line)


def _line(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        chunk = connection.recv(_CHUNK_BYTES)
        if not chunk:
            break
        received += chunk
    return bytes(received)


def _understood(path: Path, line: bytes) -> Answer:
    try:
        answer = json.loads(line)
    except ValueError:
        raise SipshardError(f"{path} gave an answer that is no JSON") from None
    if not isinstance(answer, dict):
        raise SipshardError(f"{path} gave an answer that is no object")
    if "error" in answer:
        raise SipshardError(f"the server refuses: {answer['error']}")
    return answer
