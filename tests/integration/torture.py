"""The torture messages, and how one of them is sent to a server and its answers are read."""

from __future__ import annotations

import re
import socket
import time
import uuid
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.integration.installation import HOST, Installation, Tables

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
SILENCE = 0
ANSWER_S = 1.0
SILENCE_S = 0.3
PROBE_S = 2.0
MESSAGE_TIMEOUT_S = 1.0
# Connections are looked at once a second.
SWEEP_S = 1.0
# Several have the same branch, so each has to be forgotten before the next (RFC 3261 §17.2.3).
SHORT_TIMERS = {"transaction": {"t1_ms": 2, "t2_ms": 4, "t4_ms": 5}}

# What the built-in policy answers for example.com with nobody registered: 480 for a valid request
# to a user, 403 for another domain, 4xx/5xx for what is wrong. Several where the RFC allows them.
EXPECTED: dict[str, set[int]] = {
    "badaspec": {400, 403},
    "badbranch": {400, 480},
    "baddate": {400, 480},
    "baddn": {400, 403},
    "badinv01": {400},
    "badvers": {505},
    "bcast": {SILENCE},
    "bext01": {420},
    "bigcode": {SILENCE},
    "clerr": {400},
    "cparam01": {200},
    "cparam02": {200},
    "dblreq": {200},
    "esc01": {403},
    "esc02": {403},
    "escnull": {200},
    "escruri": {400, 480},
    "insuf": {400},
    "intmeth": {480},
    "inv2543": {480},
    "invut": {480},
    "longreq": {480},
    "ltgtruri": {400},
    "lwsdisp": {480},
    "lwsruri": {400},
    "lwsstart": {400, 480},
    "mcl01": {400},
    "mismatch01": {400},
    "mismatch02": {400, 501},
    "mpart01": {403},
    "multi01": {400},
    "ncl": {400},
    "noreason": {SILENCE},
    "novelsc": {404, 416},
    "quotbal": {400},
    "regaut01": {200},
    "regbadct": {200, 400},
    "regescrt": {200},
    "scalar02": {400},
    "scalarlg": {SILENCE},
    "sdp01": {480},
    "semiuri": {480},
    "test": {SILENCE},
    "transports": {480},
    "trws": {400, 480},
    "unkscm": {416},
    # RFC 3261 §10.3 step 5: an address-of-record of another scheme is none of ours.
    "unksm2": {400, 404},
    "unreason": {SILENCE},
    "wsinv": {403},
    "zeromf": {480, 483},
    "ipv4-mapped-ipv6": {480},
    "ipv6-bad": {400},
    "ipv6-bug-abnf-3-colons": {400, 403},
    "ipv6-correct-abnf-2-colons": {403},
    "ipv6-good": {403},
    "ipv6-in-sdp": {403},
    "mult-ip-in-header": {403, 481},
    "mult-ip-in-sdp": {403},
    "port-ambiguous": {403},
    "port-unambiguous": {403},
    "via-received-param-no-delim": {403},
    "via-received-param-with-delim": {403, 481},
}


def vector_files() -> list[Path]:
    """All of them; those that register are last, so that nobody is called at strangers' hosts."""
    files = [*(VECTORS / "rfc4475").glob("*.dat"), *(VECTORS / "rfc5118" / "wire").glob("*.dat")]
    return sorted(files, key=lambda file: (b" REGISTER" in file.read_bytes(), file.stem))


class TortureServer(Installation):
    """A server that takes datagrams and connections on one port, and forgets quickly."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        listen = [f"{transport}:{self.address}" for transport in ("udp", "tcp")]
        self.tables: Tables = {
            **SHORT_TIMERS,
            "server": {"listen": listen},
            "connections": {"message_timeout_s": MESSAGE_TIMEOUT_S},
        }

    def transactions(self) -> int:
        """How many there are."""
        return sum(worker["transactions"] for worker in self.workers_now())

    def assert_undamaged(self, before: list[dict[str, Any]]) -> None:
        """Asserts that the workers are those of ``before``, and that no policy has raised."""
        names = [(worker["pid"], worker["generation"]) for worker in before]
        now = [(worker["pid"], worker["generation"]) for worker in self.workers_now()]
        assert now == names, self.tail()
        assert "Traceback" not in self.log.read_text(), self.tail()


def is_alive(server: Installation, *clients: type[Client]) -> bool:
    """Whether both workers answer each kind of client: several Call-IDs, so that each is asked."""
    for kind in clients:
        with kind(server, HOST) as client:
            asked = {client.ask() for _ in range(8)}
            answers = client.final_answers(len(asked), PROBE_S)
            if {answer.call_id for answer in answers if answer.status == 200} != asked:
                return False
    return True


@dataclass(frozen=True)
class Answer:
    """A final response."""

    status: int
    call_id: str


class Client(ABC):
    """Sends messages from an address of its own and reads the responses, as a context manager."""

    transport: str
    kind: socket.SocketKind

    def __init__(self, server: Installation, host: str, port: int = 0) -> None:
        self.server = server
        self.socket = socket.socket(socket.AF_INET, self.kind)
        self.socket.bind((host, port))
        self.socket.connect((HOST, server.port))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, message: bytes) -> None:
        """Sends it as it is."""
        self.socket.sendall(message)

    def ask(self) -> str:
        """Sends OPTIONS to the server itself; the Call-ID."""
        host, port = self.socket.getsockname()
        call_id = uuid.uuid4().hex
        lines = [
            f"OPTIONS sip:{self.server.address} SIP/2.0",
            f"Via: SIP/2.0/{self.transport} {host}:{port};branch=z9hG4bK{call_id};rport",
            f"From: <sip:probe@{HOST}>;tag=1",
            f"To: <sip:{self.server.address}>",
            f"Call-ID: {call_id}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
        ]
        self.send("\r\n".join([*lines, "", ""]).encode())
        return call_id

    def final_answers(self, count: int, patience_s: float) -> list[Answer]:
        """The next final responses: ``count`` of them, fewer when they do not come in time."""
        deadline = time.monotonic() + patience_s
        answers: list[Answer] = []
        while len(answers) < count:
            response = self.receive(deadline)
            if response is None:
                break
            status = int(response.split(b" ", 2)[1])
            call_id = re.search(rb"^(?:Call-ID|i): *([^\r\n]*)", response, re.I | re.M)
            if status >= 200:
                answers.append(Answer(status, call_id.group(1).decode() if call_id else ""))
        return answers

    @abstractmethod
    def receive(self, deadline: float) -> bytes | None:
        """The next response; None when none comes in time."""

    def _receive_bytes(self, deadline: float) -> bytes | None:
        self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            return self.socket.recv(65535)
        except TimeoutError:
            return None


class Datagrams(Client):
    """Over UDP."""

    transport = "UDP"
    kind = socket.SOCK_DGRAM

    def receive(self, deadline: float) -> bytes | None:
        return self._receive_bytes(deadline)


class Stream(Client):
    """Over TCP. No response to these messages has a body."""

    transport = "TCP"
    kind = socket.SOCK_STREAM
    unread = b""

    def receive(self, deadline: float) -> bytes | None:
        while b"\r\n\r\n" not in self.unread:
            more = self._receive_bytes(deadline)
            if not more:
                return None
            self.unread += more
        response, _, self.unread = self.unread.partition(b"\r\n\r\n")
        return response

    def is_answered_a_ping(self) -> bool:
        """Whether two line ends bring one back, and nothing else (RFC 5626 §4.4.1)."""
        self.send(b"\r\n\r\n")
        return not self.unread and self._receive_bytes(time.monotonic() + ANSWER_S) == b"\r\n"

    def is_closed_within(self, patience_s: float) -> bool:
        """Whether the server ends the connection in time, in order, and says nothing more."""
        return not self.unread and self._receive_bytes(time.monotonic() + patience_s) == b""


def via_port(message: bytes) -> int:
    """The port of the topmost Via, 5060 when it names none."""
    via = re.search(rb"^(?:via|v)\s*:(.*(?:\r?\n[ \t].*)*)", message, re.IGNORECASE | re.MULTILINE)
    sent_by = via.group(1).partition(b";")[0] if via else b""
    port = re.search(rb"(?:[^:\]]|\])\s*:\s*(\d+)\s*$", sent_by)
    return int(port.group(1)) if port else 5060
