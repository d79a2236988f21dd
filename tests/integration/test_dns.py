"""Next hops that are names, with a name server that a test can kill (RFC 3263)."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtest.sipp import free_udp_port
from tests.integration.conftest import MakePhone, StartServer
from tests.integration.installation import HOST, Installation
from tests.name_server import NameServerThread, Zone

POLICY = """\
from sipshard import Forward, Router

router = Router()


@router.request("MESSAGE", "INVITE")
def outbound(request):
    return Forward(str(request.uri))
"""

T1_MS = 20
# A lookup that fails takes so long, a request that waited for it even longer. 64*T1 is more.
TIMEOUT_S = 1.1
TTL_S = 5


@pytest.fixture
def names(cleanup: ExitStack) -> NameServerThread:
    """A name server without any name."""
    return cleanup.enter_context(NameServerThread(Zone()))


@pytest.fixture
def outbound(start_server: StartServer, names: NameServerThread, tmp_path: Path) -> Installation:
    """A server that forwards to wherever the caller says."""
    policy = tmp_path / "route.py"
    policy.write_text(POLICY)
    return start_server(
        {
            "server": {"policy": str(policy)},
            "dns": {"servers": [names.address], "timeout_s": TIMEOUT_S},
            "transaction": {"t1_ms": T1_MS},
        }
    )


def test_a_dead_first_server_is_followed_by_the_next(
    outbound: Installation, names: NameServerThread, make_phone: MakePhone
) -> None:
    """RFC 3263 §4.3; and the calls after that do not pay for it."""
    bob = make_phone(outbound, "bob")
    dead = free_udp_port()
    records = (f"10 0 {dead} pbx.example.net.", f"20 0 {bob.port} pbx.example.net.")
    names.zone.add("_sip._udp.example.net", "SRV", *records)
    names.zone.add("pbx.example.net", "A", HOST)
    alice = make_phone(outbound, "alice")
    assert alice.call("sip:bob@example.net").status == 200
    assert sum(outbound.counter("failovers")) == 1
    assert bob.calls_taken == 1
    # A worker knows what it has seen itself, so the other one may find out, too.
    for _ in range(20):
        assert alice.call("sip:bob@example.net").status == 200
    assert sum(outbound.counter("failovers")) <= 2


def test_naptr_leads_to_the_service(
    outbound: Installation, names: NameServerThread, make_phone: MakePhone
) -> None:
    bob = make_phone(outbound, "bob")
    names.zone.add("example.net", "NAPTR", '10 10 "s" "SIP+D2U" "" edge.example.net.')
    names.zone.add("edge.example.net", "SRV", f"0 0 {bob.port} pbx.example.net.")
    names.zone.add("pbx.example.net", "A", HOST)
    assert make_phone(outbound, "alice").call("sip:bob@example.net").status == 200
    assert bob.calls_taken == 1


def test_a_killed_name_server_delays_no_known_name_and_no_address(
    outbound: Installation, names: NameServerThread, make_phone: MakePhone
) -> None:
    bob = make_phone(outbound, "bob")
    alice = make_phone(outbound, "alice")
    names.zone.add("pbx.example.net", "A", HOST, ttl_s=TTL_S)
    known = f"sip:bob@pbx.example.net:{bob.port}"
    # Both workers learn the name.
    for _ in range(20):
        assert alice.request("MESSAGE", known).status == 200
    names.kill()
    expired = time.monotonic() + TTL_S + 0.5

    strangers = [make_phone(outbound, f"stranger{number}") for number in range(20)]
    for number, phone in enumerate(strangers):
        phone.send("MESSAGE", f"sip:x@unknown{number}.example.net")
    numeric = f"sip:bob@{HOST}:{bob.port}"
    slowest_s = 0.0
    while time.monotonic() < expired + TIMEOUT_S + 1:
        for uri in (known, numeric):
            begun = time.monotonic()
            assert alice.request("MESSAGE", uri).status == 200
            slowest_s = max(slowest_s, time.monotonic() - begun)
        time.sleep(0.05)
    assert slowest_s < TIMEOUT_S
    assert sum(outbound.counter("stale_locations")) > 0
    assert sum(outbound.counter("lookup_failures")) > 20
    # A name that nobody knows has to wait for the lookup, and fails with it.
    begun = time.monotonic()
    assert alice.request("MESSAGE", "sip:x@new.example.net").status == 500
    assert time.monotonic() - begun >= TIMEOUT_S
