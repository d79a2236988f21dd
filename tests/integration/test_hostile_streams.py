"""Connections that are slow, endless, broken or many are closed or answered; nobody else notices.

After every test both workers are those of before, serve over UDP and TCP, hold no connection and no
transaction, and have not grown. A connection that is no good any more is closed by the server.
"""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.integration.hostile import (
    BINARY,
    CLOSE,
    CONTINUATION,
    HANDSHAKE_TIMEOUT_S,
    MASK,
    MAX_PER_SOURCE,
    OVERDUE_S,
    PING,
    TEXT,
    UPGRADE,
    HostileServer,
    ListenerName,
    Peer,
    client_hello,
    frame,
    fresh,
    options,
)
from tests.integration.torture import MESSAGE_TIMEOUT_S, Datagrams, Stream, is_alive

NINES = "9" * 100


def _whole() -> bytes:
    """A good request."""
    return options("Content-Length: 0\r\n")


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostileServer]:
    """One server for all of them, so that damage done by one shows in the next."""
    with HostileServer(tmp_path_factory.mktemp("hostile") / "server") as server:
        assert is_alive(server, Datagrams, Stream)
        yield server


@pytest.fixture
def server(shared_server: HostileServer) -> Iterator[HostileServer]:
    before = shared_server.workers_now()
    yield shared_server
    shared_server.assert_unharmed(before)


def _in_fragments(text: bytes) -> list[bytes]:
    """A WebSocket message in fragments of one byte, with a ping between any two."""
    opcodes = [TEXT] + [CONTINUATION] * (len(text) - 1)
    pieces = []
    for index, (opcode, byte) in enumerate(zip(opcodes, text, strict=True)):
        is_last = index == len(text) - 1
        pieces += [frame(PING, b"?"), frame(opcode, bytes([byte]), first=0x80 * is_last)]
    return pieces


def _bytes(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


# Which listener, whether it is a WebSocket by then, and the pieces of what never ends.
SLOW: dict[str, tuple[ListenerName, bool, list[bytes]]] = {
    "a head": ("tcp", False, _bytes(options("X: y\r\n" * 100))),
    "a body": ("tcp", False, [options("Content-Length: 999\r\n"), *[b"x"] * 900]),
    "line ends, then a head": ("tcp", False, [b"\r\n\r\n", *_bytes(options("X: y\r\n" * 100))]),
    "a head in TLS": ("tls", False, _bytes(options("X: y\r\n" * 100))),
    "an upgrade": ("ws", False, _bytes(UPGRADE.encode()[:-2] + b"X: y\r\n" * 100)),
    "an upgrade on a SIP port": ("tcp", False, _bytes(UPGRADE.encode()[:-2] + b"X: y\r\n" * 100)),
    "an upgrade in TLS": ("wss", False, _bytes(UPGRADE.encode()[:-2] + b"X: y\r\n" * 100)),
    "a frame": ("ws", True, _bytes(frame(TEXT, b"x" * 900, length=999))),
    "the head of a frame": ("ws", True, [b"\x81"]),
    "fragments and pings": ("ws", True, _in_fragments(options("X: y\r\n" * 100))[:-1]),
}


def test_what_never_ends_is_closed_in_time(server: HostileServer) -> None:
    """A byte now and then keeps nothing alive; all of them at once, and nobody else waits."""
    timed_out = server.count("connections_timed_out")
    pace_s = 0.05
    with ExitStack() as stack:
        peers = {}
        for name, (listener, is_websocket, _) in SLOW.items():
            peers[name] = stack.enter_context(Peer(server, listener))
            if is_websocket:
                peers[name].upgrade()
        hello = stack.enter_context(Peer(server, "tls", speaks_tls=False))
        begun = time.monotonic()
        left = {name: iter(pieces) for name, (_, _, pieces) in SLOW.items()} | {
            "a TLS handshake": iter(_bytes(client_hello()[:-1]))
        }
        peers["a TLS handshake"] = hello
        closed_after_s: dict[str, float] = {}
        while left and time.monotonic() < begun + OVERDUE_S:
            for name, pieces in list(left.items()):
                peers[name].send(next(pieces, b""))
                if peers[name].is_closed(0.001):
                    closed_after_s[name] = time.monotonic() - begun
                    del left[name]
            time.sleep(pace_s)
    assert not left, f"still open: {list(left)}"
    early = {name: after_s for name, after_s in closed_after_s.items() if after_s < 0.9}
    assert not early, early
    server.wait_for_count("connections_timed_out", timed_out + len(closed_after_s))


@pytest.mark.parametrize("listener", ["tls", "ws", "wss"])
def test_who_does_not_even_begin_is_closed_in_time(
    server: HostileServer, listener: ListenerName
) -> None:
    with Peer(server, listener, speaks_tls=False) as peer:
        assert not peer.is_closed(HANDSHAKE_TIMEOUT_S / 2)
        assert peer.is_closed(OVERDUE_S)


def test_a_slow_peer_whose_messages_end_is_served(server: HostileServer) -> None:
    """Each has its own time, so that a bad line is no reason to be cut off."""
    with Peer(server, "tcp") as peer:
        begun = time.monotonic()
        while time.monotonic() < begun + 2 * MESSAGE_TIMEOUT_S:
            peer.received = b""
            request = _whole()
            for piece in (request[:50], request[50:90], request[90:]):
                peer.send(piece)
                time.sleep(MESSAGE_TIMEOUT_S / 10)
            assert peer.status == 200


# What is sent, what is answered, and whether the connection can be used further.
TOO_MUCH: dict[str, tuple[bytes, int | None, bool]] = {
    "a start line without end": (b"O" * 70_000, None, False),
    "a line without end": (options()[:-2] + b"X: " + b"y" * 70_000, None, False),
    "a head without end": (options()[:-2] + b"a: b\r\n" * 20_000, None, False),
    "a folded line without end": (options()[:-2] + b"X:" + b"\r\n " * 30_000, None, False),
    "zeros": (bytes(70_000), None, False),
    "10,000 header fields": (options("a:b\r\n" * 10_000 + "l: 0\r\n"), 400, True),
    "a line of 64 kB": (options(f"X: {'y' * 65_000}\r\nl: 0\r\n"), 200, True),
    "nested quotes": (options("l: 0\r\n", caller='"\\"' * 10_000), 400, True),
    "a quote without end": (options("l: 0\r\n", caller='"' + "x" * 60_000), 400, True),
    "a comment without end": (options("Warning: " + "(" * 60_000 + "\r\nl: 0\r\n"), 200, True),
    "a CSeq of 100 digits": (options("l: 0\r\n", cseq=NINES), 400, True),
    "a length twice": (options("l: 0\r\nContent-Length: 0\r\n"), 400, True),
    "two lengths": (options("Content-Length: 1\r\nContent-Length: 2\r\n"), 400, False),
    "two lengths, one compact": (options("Content-Length: 1\r\nl : 2\r\n"), 400, False),
    "a negative length": (options("Content-Length: -1\r\n"), 400, False),
    "a length with a sign": (options("Content-Length: +1\r\n"), 400, False),
    "a hexadecimal length": (options("Content-Length: 0x10\r\n"), 400, False),
    "no length after its name": (options("Content-Length:\r\n"), 400, False),
    "a length of 100 digits": (options(f"Content-Length: {NINES}\r\n"), 400, False),
    "a length of 4 GB": (options(f"Content-Length: {2**32}\r\n"), 400, False),
    "a length beyond 64 kB": (options("Content-Length: 65500\r\n"), None, False),
}


@pytest.mark.parametrize("listener", ["tcp", "tls"])
@pytest.mark.parametrize("name", TOO_MUCH)
def test_too_much_and_too_wrong(server: HostileServer, listener: ListenerName, name: str) -> None:
    data, status, is_usable = TOO_MUCH[name]
    errors = server.count("framing_errors")
    with Peer(server, listener) as peer:
        peer.send(fresh(data))
        if status:
            assert peer.status == status
        if is_usable:
            peer.received = b""
            peer.send(_whole())
            assert peer.status == 200
        else:
            assert peer.is_closed()
            assert status or not peer.received
    server.wait_for_count("framing_errors", errors + (not is_usable))


NO_TLS = {
    "SIP in the clear": _whole() * 10,
    "HTTP in the clear": UPGRADE.encode(),
    "random bytes": random.Random(1).randbytes(5_000),
    "zeros": bytes(5_000),
    "a record of 65,535 bytes": b"\x16\x03\x01\xff\xff" + b"x" * 65_535,
    "a record of another version": b"\x16\x09\x09\x00\x05hello",
    "empty records": b"\x16\x03\x03\x00\x00" * 10_000,
    "a hello of 16 MB": b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"x" * 16_380,
    "a hello of nonsense": b"\x16\x03\x01\x00\x10\x01\x00\x00\x0c" + b"x" * 12,
    "data before a hello": b"\x17\x03\x03\x00\x05hello",
    "a hello, then garbage": client_hello() + b"garbage" * 1_000,
    "hello twice": client_hello() * 2,
    "an SSL 2 hello": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"x" * 35,
}


@pytest.mark.parametrize("listener", ["tls", "wss"])
@pytest.mark.parametrize("name", NO_TLS)
def test_what_is_no_tls(server: HostileServer, listener: ListenerName, name: str) -> None:
    failures = server.count("tls_failures")
    with Peer(server, listener, speaks_tls=False) as peer:
        peer.send(NO_TLS[name])
        assert peer.is_closed()
        assert b"SIP/2.0" not in peer.received
    server.wait_for_count("tls_failures", failures + 1)


def test_garbage_inside_tls(server: HostileServer) -> None:
    """A record that does not decrypt ends the connection (RFC 8446 §5.2)."""
    failures = server.count("tls_failures")
    with Peer(server, "tls") as peer:
        with socket.socket(fileno=os.dup(peer.socket.fileno())) as raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        assert peer.is_closed()
    server.wait_for_count("tls_failures", failures + 1)


NO_UPGRADE = {
    "a page": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "another subprotocol": (UPGRADE.replace("Protocol: sip", "Protocol: mqtt").encode(), 400),
    "no subprotocol": (UPGRADE.replace("Sec-WebSocket-Protocol: sip\r\n", "").encode(), 400),
    "another version": (UPGRADE.replace("Version: 13", "Version: 8").encode(), 400),
    "no key": (UPGRADE.replace("Sec-WebSocket-Key", "X-Key").encode(), 400),
    "two hosts": (UPGRADE.replace("Upgrade: w", "Host: y\r\nUpgrade: w").encode(), 400),
    "HTTP/1.0": (UPGRADE.replace("HTTP/1.1", "HTTP/1.0").encode(), 400),
    "a request without end": (UPGRADE.encode()[:-2] + b"X: y\r\n" * 5_000, 431),
    "a path without end": (b"GET /" + b"x" * 20_000, 431),
    "10,000 header fields": (UPGRADE.encode()[:-2] + b"a:\r\n" * 1_000 + b"\r\n", 400),
    "broken lines": (b"GET / HTTP/1.1\r\n: \r\n\x00\xff\r\n\r\n", 400),
}


@pytest.mark.parametrize("listener", ["ws", "wss", "tcp", "tls"])
@pytest.mark.parametrize("name", NO_UPGRADE)
def test_what_is_no_upgrade(server: HostileServer, listener: ListenerName, name: str) -> None:
    request, status = NO_UPGRADE[name]
    errors = server.count("framing_errors")
    with Peer(server, listener) as peer:
        peer.send(request)
        assert peer.status == status
        assert peer.is_closed()
    server.wait_for_count("framing_errors", errors + 1)


@pytest.mark.parametrize("request_line", [b"POST / HTTP/1.1", b"INVITE sip:x SIP/2.0", b"\x16\x03"])
def test_a_websocket_port_speaks_nothing_else(server: HostileServer, request_line: bytes) -> None:
    with Peer(server, "ws") as peer:
        peer.send(request_line + b"\r\n\r\n")
        assert peer.status == 400
        assert peer.is_closed()


@pytest.mark.parametrize("listener", ["ws", "wss", "tcp", "tls"])
def test_frames_that_are_cut_everywhere(server: HostileServer, listener: ListenerName) -> None:
    """RFC 6455 §5.4: a message may come in any pieces, and pings between them."""
    frames = (_bytes(frame(TEXT, _whole())), _bytes(frame(BINARY, _whole())))
    for pieces in (*frames, _in_fragments(_whole())):
        with Peer(server, listener) as peer:
            peer.upgrade()
            for piece in pieces:
                peer.send(piece)
            assert peer.read_until(rb"SIP/2\.0 200 OK\r\n.*?\r\n\r\n"), peer.received
            peer.send(frame(CLOSE, (1000).to_bytes(2, "big")))
            assert peer.close_code == 1000
            assert peer.is_closed()


PROTOCOL_ERROR, NOT_TEXT, TOO_LARGE = 1002, 1007, 1009
BAD_FRAMES = {
    "bare": (frame(TEXT, _whole(), mask=b""), PROTOCOL_ERROR),
    "of 8 EB": (frame(BINARY, b"", length=2**63 - 1), TOO_LARGE),
    "of more than 63 bits": (frame(BINARY, b"", length=2**64 - 1), None),
    "of 1 MB": (frame(BINARY, b"x" * (1 << 20)), TOO_LARGE),
    "too large in all": (
        frame(BINARY, b"x" * 60_000, first=0) + frame(CONTINUATION, b"x" * 60_000),
        TOO_LARGE,
    ),
    "with a reserved bit": (frame(TEXT, _whole(), first=0xC0), PROTOCOL_ERROR),
    "of an unknown kind": (frame(3, _whole()), PROTOCOL_ERROR),
    "of an unknown control": (frame(11, b""), PROTOCOL_ERROR),
    "a ping of 126 bytes": (frame(PING, b"x" * 126), PROTOCOL_ERROR),
    "a ping in fragments": (frame(PING, b"x", first=0), PROTOCOL_ERROR),
    "the end of nothing": (frame(CONTINUATION, _whole()), PROTOCOL_ERROR),
    "a second beginning": (frame(TEXT, b"x", first=0) + frame(TEXT, _whole()), PROTOCOL_ERROR),
    "text that is none": (frame(TEXT, b"\xff\xfe"), NOT_TEXT),
    "a close of one byte": (frame(CLOSE, b"x"), PROTOCOL_ERROR),
}


@pytest.mark.parametrize("listener", ["ws", "wss"])
@pytest.mark.parametrize("name", BAD_FRAMES)
def test_bad_frames(server: HostileServer, listener: ListenerName, name: str) -> None:
    """RFC 6455 §7.1.7: the connection fails, and the reason is told."""
    data, code = BAD_FRAMES[name]
    with Peer(server, listener) as peer:
        peer.upgrade()
        peer.send(data)
        assert peer.is_closed()
        assert code is None or peer.close_code == code, peer.received
        assert b"SIP/2.0" not in peer.received


def test_messages_in_frames_that_are_no_sip(server: HostileServer) -> None:
    """Their sender gets his 400 where it can be written, and goes on."""
    with Peer(server, "ws") as peer:
        peer.upgrade()
        for payload in (b"", b"\x00", b"hello", b"\r\n\r\n", b"x" * 65_000):
            peer.send(frame(BINARY, payload))
        peer.send(frame(TEXT, options("l: 5\r\n")))
        assert peer.read_until(rb"SIP/2\.0 400 "), peer.received
        peer.send(frame(TEXT, _whole() + _whole()))
        assert peer.read_until(rb"SIP/2\.0 200 "), peer.received


def test_a_flood_of_connections_from_one_address(server: HostileServer) -> None:
    """What is too many is closed at once, others are served, and later it is welcome again."""
    refused = server.count("connections_refused")
    flood = "127.0.81.1"
    number = 6 * MAX_PER_SOURCE
    with ExitStack() as stack:
        peers = [stack.enter_context(Peer(server, "tcp", flood)) for _ in range(number)]
        for peer in peers:
            peer.send(_whole())
        served = sum(peer.status == 200 for peer in peers[::5]) * 5
        # The kernel spreads them over both workers, each with its own count.
        assert served <= 2 * MAX_PER_SOURCE + 5
        assert server.count("connections_refused") - refused >= number - 2 * MAX_PER_SOURCE
        assert is_alive(server, Datagrams, Stream)
    server.wait_for(
        "they are gone", lambda: sum(each["connections"] for each in server.workers_now()) == 0
    )
    with Peer(server, "tcp", flood) as peer:
        peer.send(_whole())
        assert peer.status == 200


def test_a_peer_that_never_reads(server: HostileServer) -> None:
    """What waits for it is bounded, and then the connection ends."""
    slow = server.count("slow_peers")
    with Peer(server, "tcp", "127.0.82.1") as peer:
        deadline = time.monotonic() + 30.0
        while server.count("slow_peers") == slow:
            assert time.monotonic() < deadline, "it may have what it wants for ever"
            for _ in range(100):
                peer.send(options("l: 0\r\n"))
        assert is_alive(server, Datagrams, Stream)


def test_a_flood_of_pings(server: HostileServer) -> None:
    with Peer(server, "tcp", "127.0.82.2") as peer:
        for _ in range(100):
            peer.send(b"\r\n\r\n" * 10_000)
        assert is_alive(server, Datagrams, Stream)
        peer.send(_whole())
        assert peer.read_until(rb"SIP/2\.0 200 ", 5.0)


@pytest.mark.parametrize("listener", ["tcp", "tls", "ws", "wss"])
def test_connections_that_break_in_the_middle(
    server: HostileServer, listener: ListenerName
) -> None:
    for round_ in range(100):
        peer = Peer(server, listener, f"127.0.83.{round_ % 8 + 1}")
        if listener in ("ws", "wss"):
            peer.upgrade()
            peer.send(frame(TEXT, _whole())[: 3 * round_])
        else:
            peer.send((_whole() + _whole())[: 4 * round_])
        peer.reset()


@pytest.mark.parametrize("listener", ["tcp", "tls", "ws", "wss"])
def test_random_streams(server: HostileServer, listener: ListenerName) -> None:
    """Pieces that mean something, in an order that means nothing; the seed is the number."""
    pieces = [
        _whole(),
        options("l: 9\r\n"),
        UPGRADE.encode(),
        client_hello(),
        MASK,
        b"\r\n\r\n",
        b"\n",
    ]
    pieces += [
        frame(TEXT, _whole()),
        frame(PING, b"x"),
        frame(TEXT, b"x", first=0),
        b"\x81\xfe\xff",
    ]
    for seed in range(60):
        chance = random.Random(seed)
        with Peer(server, listener, f"127.0.84.{seed % 8 + 1}") as peer:
            if listener in ("ws", "wss") and seed % 4:
                peer.upgrade()
            for _ in range(chance.randrange(1, 12)):
                piece = chance.choice([*pieces, chance.randbytes(chance.randrange(1, 400))])
                peer.send(piece[: chance.randrange(1, len(piece) + 1)])
