"""Every transport with every other: calls, requests of both sides in them, lost connections."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtest.link import Transport
from loadtest.phone import NoAnswerError, Phone, record_routes
from loadtest.websocket_link import CLOSE
from tests.integration.stream_server import (
    DOMAIN,
    STREAMS,
    TRANSPORTS,
    UNROUTABLE,
    StreamServer,
)

# What calls between correct phones never make the server count.
FAULTS = (
    "branches_unsent",
    "connect_failures",
    "connections_broken",
    "flows_lost",
    "framing_errors",
    "mailbox_full",
    "malformed_requests",
    "malformed_responses",
    "send_errors",
    "stray_acks",
    "stray_responses",
    "tls_failures",
    "unanswerable_requests",
    "unreachable_targets",
)
# Long before the caller's Timer B, 32 seconds.
AT_ONCE_S = 2.0
PHONES_PER_TRANSPORT = 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamServer]:
    folder = tmp_path_factory.mktemp("transports")
    with StreamServer(folder / "server", families=(4, 6)) as server:
        yield server


@pytest.fixture
def own_server(tmp_path: Path, cleanup: ExitStack) -> StreamServer:
    """One that the test may damage or stop."""
    return cleanup.enter_context(StreamServer(tmp_path / "server"))


def _faults(server: StreamServer) -> dict[str, int]:
    return {name: server.count(name) for name in FAULTS}


def _call_both_ways(server: StreamServer, alice: Phone, bob: Phone) -> None:
    """Two calls, of which each side ends one; nothing goes wrong on the way."""
    faults, in_dialog = _faults(server), server.count("in_dialog_requests")
    assert bob.register().status == 200
    answered = alice.invite(bob.aor)
    assert answered.status == 200
    assert record_routes(answered)
    assert alice.hang_up(answered).status == 200
    assert alice.invite(bob.aor).status == 200
    server.wait_for("the ACK arrives", lambda: bob.requests_taken[-1].method == "ACK")
    assert bob.hang_up_taken().status == 200
    assert [request.method for request in alice.requests_taken] == ["BYE"]
    methods = [request.method for request in bob.requests_taken]
    assert methods == ["INVITE", "ACK", "BYE", "INVITE", "ACK"]
    # Two ACKs and two BYEs have followed their route sets, and no policy was asked.
    assert server.count("in_dialog_requests") == in_dialog + 4
    assert _faults(server) == faults


@pytest.mark.parametrize("callee", TRANSPORTS)
@pytest.mark.parametrize("caller", TRANSPORTS)
def test_both_sides_can_end_a_call(
    server: StreamServer, cleanup: ExitStack, caller: Transport, callee: Transport
) -> None:
    """RFC 5658 §5: where the sides differ, each is reached through a Record-Route of its own."""
    alice = cleanup.enter_context(server.phone("alice", caller))
    bob = cleanup.enter_context(server.phone(f"bob-{caller}-{callee}", callee))
    _call_both_ways(server, alice, bob)


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        (("udp", 6), ("tcp", 4)),
        (("tcp", 4), ("tls", 6)),
        (("tls", 6), ("wss", 6)),
        (("ws", 6), ("udp", 4)),
        (("wss", 4), ("udp", 6)),
    ],
)
def test_calls_between_the_families(
    server: StreamServer,
    cleanup: ExitStack,
    caller: tuple[Transport, int],
    callee: tuple[Transport, int],
) -> None:
    alice = cleanup.enter_context(server.phone("alice", *caller))
    bob = cleanup.enter_context(server.phone(f"bob-{caller[0]}-{callee[0]}-{callee[1]}", *callee))
    _call_both_ways(server, alice, bob)


@pytest.mark.parametrize("callee", ["tcp", "tls"])
@pytest.mark.parametrize("caller", ["tcp", "tls"])
def test_phones_behind_nat_are_reached_through_their_connections(
    server: StreamServer, cleanup: ExitStack, caller: Transport, callee: Transport
) -> None:
    """RFC 5626 §5.3; in the dialog, too, where only the Record-Route leads to the connection."""
    opened = server.count("connections_opened")
    alice = cleanup.enter_context(server.phone("alice", caller, claims=UNROUTABLE))
    bob = cleanup.enter_context(server.phone(f"nat-{caller}-{callee}", callee, claims=UNROUTABLE))
    _call_both_ways(server, alice, bob)
    assert server.count("connections_opened") == opened


@pytest.mark.parametrize("transport", STREAMS)
def test_a_lost_connection_is_noticed_at_once_and_replaced_by_registering_again(
    server: StreamServer, cleanup: ExitStack, transport: Transport
) -> None:
    alice = cleanup.enter_context(server.phone("alice", "udp"))
    user, before = f"lost-{transport}", sum(server.connections())
    with server.phone(user, transport, claims="bob.invalid") as bob:
        assert bob.register().status == 200
        assert alice.call(bob.aor).status == 200
    server.wait_for("bob has gone", lambda: sum(server.connections()) == before)
    begun = time.monotonic()
    # RFC 3261 §16.7 step 6: a branch's 503 goes upstream as 500.
    assert alice.invite(bob.aor).status in (480, 500)
    assert time.monotonic() - begun < AT_ONCE_S
    with server.phone(user, transport, claims="bob.invalid") as bob:
        assert bob.register().status == 200
        assert alice.call(bob.aor).status == 200
        assert bob.calls_taken == 1


def test_a_phone_that_loses_its_connection_in_a_call_goes_on_with_another(
    server: StreamServer, cleanup: ExitStack
) -> None:
    """Its requests carry the route set; the proof in there holds for every connection."""
    bob = cleanup.enter_context(server.phone("callee-of-a-lost-one", "tcp", claims=UNROUTABLE))
    assert bob.register().status == 200
    with server.phone("alice", "tls", claims=UNROUTABLE) as alice:
        answered = alice.invite(bob.aor)
        assert answered.status == 200
    with server.phone("alice", "tls", claims=UNROUTABLE) as alice:
        assert alice.hang_up(answered).status == 200
    assert bob.requests_taken[-1].method == "BYE"


def _phones_by_worker(server: StreamServer, cleanup: ExitStack) -> list[list[Phone]]:
    """Phones of all transports, registered, by the worker that has accepted them."""
    by_worker: list[list[Phone]] = [[], []]
    for transport in STREAMS:
        for number in range(PHONES_PER_TRANSPORT):
            before = server.connections()
            phone = server.phone(f"{transport}-{number}", transport, claims=f"{number}.invalid")
            cleanup.enter_context(phone)
            assert phone.register().status == 200
            grown = [now - then for now, then in zip(server.connections(), before, strict=True)]
            by_worker[grown.index(1)].append(phone)
    assert all(by_worker), "the kernel has given connections to both"
    return by_worker


def test_only_the_connections_of_a_killed_worker_end_and_their_clients_come_back(
    server: StreamServer, cleanup: ExitStack
) -> None:
    lost, kept = _phones_by_worker(server, cleanup)
    generation = server.workers_now()[0]["generation"]
    server.kill_worker(0)

    def is_served() -> bool:
        worker = server.workers_now()[0]
        return bool(worker["generation"] > generation and worker["state"] == "serving")

    server.wait_for("a successor serves", is_served)
    for phone in lost:
        with pytest.raises((NoAnswerError, OSError)):
            phone.register()
    for phone in kept:
        assert phone.register().status == 200
    alice = kept[0]
    assert alice.invite(lost[0].aor).status == 500
    for phone in lost:
        again = server.phone(phone.user, phone.transport, claims=phone.claims)
        cleanup.enter_context(again)
        assert again.register().status == 200
        assert alice.call(again.aor).status == 200
    assert server.connections()[1] >= len(kept)


def test_a_stop_closes_connections_in_order(own_server: StreamServer) -> None:
    """RFC 8446 §6.1: `close_notify`, RFC 6455 §7.1.2: a close frame, and nothing is reset."""
    server, context = own_server, own_server.client_context()
    lines = {transport: _opened(server, transport, context) for transport in STREAMS}
    assert server.process is not None
    server.process.send_signal(signal.SIGTERM)
    ends = {transport: _read_to_the_end(line) for transport, line in lines.items()}
    assert server.process.wait(10) == 0
    assert ends["tcp"] == ends["tls"] == b""
    # RFC 6455 §7.4.1: 1000 is a normal closure.
    assert ends["ws"] == ends["wss"] == bytes([0x80 | CLOSE, 2]) + (1000).to_bytes(2, "big")


def _opened(server: StreamServer, transport: Transport, context: ssl.SSLContext) -> socket.socket:
    """A connection that the server has answered something on."""
    line = socket.create_connection(server.listener(transport), 5.0)
    if transport in ("tls", "wss"):
        line = context.wrap_socket(line, server_hostname=DOMAIN, suppress_ragged_eofs=False)
    if transport in ("tcp", "tls"):
        line.sendall(b"\r\n\r\n")
        assert line.recv(16) == b"\r\n"
        return line
    line.sendall(
        b"GET / HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n"
        b"Sec-WebSocket-Version: 13\r\n\r\n"
    )
    assert line.recv(4096).startswith(b"HTTP/1.1 101 ")
    return line


def _read_to_the_end(line: socket.socket) -> bytes:
    """What came; raises when the end is not in order."""
    received = b""
    with line:
        while chunk := line.recv(4096):
            received += chunk
    return received
