"""Every torture message over UDP: the right answer, and a server that goes on as before.

The messages are the files of ``tests/vectors`` (RFC 4475 and RFC 5118). Answers go to the address a
message came from and the port of its topmost Via (RFC 3261 §18.2.2), so each message is sent from a
loopback address of its own, with that port.
"""

from __future__ import annotations

import re
import socket
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from tests.integration.conftest import StartServer
from tests.integration.installation import HOST, Installation

VECTORS = Path(__file__).resolve().parent.parent / "vectors"
SILENCE = 0
ANSWER_S = 1.0
SILENCE_S = 0.3
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


def _files() -> list[Path]:
    files = [*(VECTORS / "rfc4475").glob("*.dat"), *(VECTORS / "rfc5118" / "wire").glob("*.dat")]
    # What is registered last is never called: its contacts are hosts of other people.
    return sorted(files, key=lambda file: (b" REGISTER" in file.read_bytes(), file.stem))


def test_every_vector_has_an_expectation() -> None:
    assert {file.stem for file in _files()} == set(EXPECTED)


def test_torture_messages(start_server: StartServer) -> None:
    """One server for all of them, so that damage done by one shows in the next.

    Several have the same branch, so each has to be forgotten before the next (RFC 3261 §17.2.3);
    short timers make that quick.
    """
    server = start_server(SHORT_TIMERS)
    before = [worker["pid"] for worker in server.workers_now()]
    wrong = []
    for number, file in enumerate(_files(), start=1):
        expected = EXPECTED[file.stem]
        status = _exchange(server, file.read_bytes(), f"127.0.77.{number}", SILENCE in expected)
        if status not in expected:
            wrong.append(f"{file.stem}: {status}, expected {sorted(expected)}")
        assert _is_alive(server), f"no answer after {file.stem}\n{server.tail()}"
        server.wait_for(f"{file.stem} is forgotten", lambda: _transactions(server) == 0)
    assert not wrong, "\n".join(wrong)
    assert [worker["pid"] for worker in server.workers_now()] == before
    assert "Traceback" not in server.log.read_text()
    counters = server.status()["counters"]
    assert counters["malformed_requests"] > 0
    assert counters["malformed_responses"] > 0


# RFC 4475 §3.1.1.4, §3.3.12 to §3.3.14: what the valid REGISTERs among them bind, oldest first.
BOUND = {
    "escnull": (
        "sip:null-%00-null@example.com",
        ["sip:%00@host5.example.com", "sip:%00%00@host5.example.com"],
    ),
    "cparam01": ("watson@example.com", ["sip:+19725552222@gw1.example.net"]),
    "cparam02": ("watson@example.com", ["sip:+19725552222@gw1.example.net;unknownparam"]),
    "regescrt": ("user@example.com", ["sip:user@example.com?Route=%3Csip:sip.example.com%3E"]),
    "unksm2": ("isbn@example.com", []),
}


def test_torture_registrations_bind_what_they_say(start_server: StartServer) -> None:
    """cparam02 replaces the binding of cparam01: an unknown URI parameter on one side only counts
    for nothing (RFC 3261 §19.1.4). Both have one branch, so the first must be forgotten first."""
    server = start_server(SHORT_TIMERS)
    for number, (name, (aor, expected)) in enumerate(BOUND.items(), start=1):
        message = (VECTORS / "rfc4475" / f"{name}.dat").read_bytes()
        _exchange(server, message, f"127.0.78.{number}", False)
        found = server.ask("registrations", aor)["registrations"]
        assert [each["uri"] for entry in found for each in entry["bindings"]] == expected, name
        server.wait_for(f"{name} is forgotten", lambda: _transactions(server) == 0)


def _noise() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "keepalive", b"\r\n\r\n"
    yield "one letter", b"I"
    yield "zeros", bytes(1500)
    yield "letters", b"A" * 65_000
    yield "only lines", b"\r\n" * 30_000
    yield "endless header", b"OPTIONS sip:x SIP/2.0\r\nVia: " + b"a" * 65_000
    yield "many headers", b"OPTIONS sip:x SIP/2.0\r\n" + b"a: b\r\n" * 10_000 + b"\r\n"
    yield "many Vias", b"OPTIONS sip:x SIP/2.0\r\nVia: " + b"SIP/2.0/UDP a," * 4_000 + b"\r\n\r\n"
    yield "broken UTF-8", b"OPTIONS sip:\xff\xfe@\x80 SIP/2.0\r\nVia: \xc3\x28\r\n\r\n"
    for file in sorted((VECTORS / "stun").glob("*.bin")):
        yield f"STUN {file.stem}", file.read_bytes()


def test_noise_is_dropped(server: Installation) -> None:
    for name, datagram in _noise():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(datagram, (HOST, server.port))
        assert _is_alive(server), f"no answer after {name}\n{server.tail()}"
    assert [worker["generation"] for worker in server.workers_now()] == [1, 1]
    assert "Traceback" not in server.log.read_text()


def test_every_prefix_and_every_flipped_byte(server: Installation) -> None:
    """A valid REGISTER, cut at every place and with every byte changed: no worker ends."""
    whole = (VECTORS / "rfc4475" / "escnull.dat").read_bytes()
    damaged = [whole[:end] for end in range(len(whole))]
    damaged += [
        whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :] for at in range(len(whole))
    ]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for count, datagram in enumerate(damaged):
            sender.sendto(datagram, (HOST, server.port))
            if count % 100 == 0:
                assert _is_alive(server), server.tail()
    assert _is_alive(server), server.tail()
    assert [worker["generation"] for worker in server.workers_now()] == [1, 1]
    assert "Traceback" not in server.log.read_text()


def _exchange(server: Installation, message: bytes, source: str, expects_silence: bool) -> int:
    """Sends from ``source``; the status code of the first response, or SILENCE."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((source, _via_port(message)))
        client.settimeout(SILENCE_S if expects_silence else ANSWER_S)
        client.sendto(message, (HOST, server.port))
        try:
            while True:
                status = int(client.recv(65535).split(b" ", 2)[1])
                if status >= 200:
                    return status
        except TimeoutError:
            return SILENCE


def _transactions(server: Installation) -> int:
    return sum(worker["transactions"] for worker in server.workers_now())


def _via_port(message: bytes) -> int:
    """The port of the topmost Via, 5060 when it names none."""
    via = re.search(rb"^(?:via|v)\s*:(.*(?:\r?\n[ \t].*)*)", message, re.IGNORECASE | re.MULTILINE)
    sent_by = via.group(1).partition(b";")[0] if via else b""
    port = re.search(rb"(?:[^:\]]|\])\s*:\s*(\d+)\s*$", sent_by)
    return int(port.group(1)) if port else 5060


def _is_alive(server: Installation) -> bool:
    """Whether both workers answer: several Call-IDs, so that each of them is asked."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind((HOST, 0))
        client.settimeout(2.0)
        port = client.getsockname()[1]
        call_ids = [uuid.uuid4().hex for _ in range(8)]
        for call_id in call_ids:
            client.sendto(_options(server, port, call_id), (HOST, server.port))
        answered: set[str] = set()
        deadline = time.monotonic() + 2.0
        while answered != set(call_ids) and time.monotonic() < deadline:
            try:
                response = client.recv(65535).decode()
            except TimeoutError:
                break
            if response.startswith("SIP/2.0 200 "):
                answered.add(response.partition("Call-ID:")[2].split()[0])
    return answered == set(call_ids)


def _options(server: Installation, port: int, call_id: str) -> bytes:
    lines = [
        f"OPTIONS sip:{server.address} SIP/2.0",
        f"Via: SIP/2.0/UDP {HOST}:{port};branch=z9hG4bK{call_id};rport",
        f"From: <sip:probe@{HOST}>;tag=1",
        f"To: <sip:{server.address}>",
        f"Call-ID: {call_id}",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()
