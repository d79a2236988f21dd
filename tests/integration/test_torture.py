"""Every torture message over UDP: the right answer, and a server that goes on as before.

The messages are the files of ``tests/vectors`` (RFC 4475 and RFC 5118). Answers go to the address a
message came from and the port of its topmost Via (RFC 3261 §18.2.2), so each message is sent from a
loopback address of its own, with that port.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator

from tests.integration.installation import HOST, Installation
from tests.integration.torture import (
    ANSWER_S,
    EXPECTED,
    SILENCE,
    SILENCE_S,
    VECTORS,
    Datagrams,
    Stream,
    TortureServer,
    is_alive,
    vector_files,
    via_port,
)


def test_every_vector_has_an_expectation() -> None:
    assert {file.stem for file in vector_files()} == set(EXPECTED)


def test_torture_messages(torture_server: TortureServer) -> None:
    """One server for all of them, so that damage done by one shows in the next."""
    before = torture_server.workers_now()
    wrong = []
    for number, file in enumerate(vector_files(), start=1):
        message, expected = file.read_bytes(), EXPECTED[file.stem]
        with Datagrams(torture_server, f"127.0.77.{number}", via_port(message)) as client:
            client.send(message)
            answers = client.final_answers(1, SILENCE_S if SILENCE in expected else ANSWER_S)
        status = answers[0].status if answers else SILENCE
        if status not in expected:
            wrong.append(f"{file.stem}: {status}, expected {sorted(expected)}")
        assert is_alive(torture_server, Datagrams, Stream), f"{file.stem}\n{torture_server.tail()}"
        torture_server.wait_for(
            f"{file.stem} is forgotten", lambda: torture_server.transactions() == 0
        )
    assert not wrong, "\n".join(wrong)
    torture_server.assert_undamaged(before)
    counters = torture_server.status()["counters"]
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


def test_torture_registrations_bind_what_they_say(torture_server: TortureServer) -> None:
    """cparam02 replaces the binding of cparam01: an unknown URI parameter on one side only counts
    for nothing (RFC 3261 §19.1.4). Both have one branch, so the first must be forgotten first."""
    for number, (name, (aor, expected)) in enumerate(BOUND.items(), start=1):
        message = (VECTORS / "rfc4475" / f"{name}.dat").read_bytes()
        with Datagrams(torture_server, f"127.0.78.{number}", via_port(message)) as client:
            client.send(message)
            client.final_answers(1, ANSWER_S)
        found = torture_server.ask("registrations", aor)["registrations"]
        assert [each["uri"] for entry in found for each in entry["bindings"]] == expected, name
        torture_server.wait_for(f"{name} is forgotten", lambda: torture_server.transactions() == 0)


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
        assert is_alive(server, Datagrams), f"no answer after {name}\n{server.tail()}"
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
                assert is_alive(server, Datagrams), server.tail()
    assert is_alive(server, Datagrams), server.tail()
    assert [worker["generation"] for worker in server.workers_now()] == [1, 1]
    assert "Traceback" not in server.log.read_text()
