"""Calls through two workers: nothing fails, and the work is shared."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.sipp import Load, Sipp, free_udp_port
from tests.integration.conftest import MakePhone, StartServer
from tests.integration.installation import Installation

CALLS = 20_000
CALLS_PER_S = 1_000


@pytest.mark.parametrize("steering", ["kernel", "off"])
def test_twenty_thousand_calls_from_one_address(
    start_server: StartServer, callee: Sipp, steering: str
) -> None:
    """All calls come from one address and port, so only their Call-IDs can spread them."""
    server = start_server({"server": {"steering": steering}})
    users = server.register_users(100, callee)
    result = server.load("call_uac", Load(CALLS, CALLS_PER_S, users))
    assert result.is_clean, result
    assert result.created == CALLS
    shares = [count / CALLS for count in server.counter("invites")]
    assert sum(shares) == pytest.approx(1.0)
    assert all(0.4 <= share <= 0.6 for share in shares), shares
    assert server.socket_drops() == 0
    passed_on = sum(server.counter("mailbox_sent"))
    if steering == "off":
        # The kernel knows one peer address each way, so about half of everything arrives wrongly.
        assert passed_on > CALLS
    else:
        assert passed_on == 0
    assert sum(server.counter("mailbox_full")) == 0


def test_the_callee_is_found_in_the_location(server: Installation, callee: Sipp) -> None:
    server.register_users(3, callee)
    listed = server.ask("registrations", "u000001@127.0.0.1")["registrations"]
    assert [entry["aor"] for entry in listed] == ["u000001@127.0.0.1"]
    assert listed[0]["bindings"][0]["uri"] == f"sip:u000001@127.0.0.1:{callee.port}"
    assert server.status()["registrations"] == 3


def test_cancelled_calls(server: Installation, tmp_path: Path) -> None:
    """RFC 3261 §9 and §16.10: CANCEL is answered, the callee is cancelled, 487 comes back."""
    with Sipp("cancel_uas", free_udp_port(), tmp_path / "cancelled") as callee:
        users = server.register_users(20, callee)
        result = server.load("cancel_uac", Load(1_000, 200, users))
        assert result.is_clean, result
        assert callee.quit().failed == 0
    server.wait_for("all transactions have ended", lambda: _unfinished(server) == 0)


def _unfinished(server: Installation) -> int:
    return sum(worker["unfinished"] for worker in server.workers_now())


def test_a_call_between_two_phones(server: Installation, make_phone: MakePhone) -> None:
    alice, bob = make_phone(server, "alice"), make_phone(server, "bob")
    assert alice.register().status == 200
    assert bob.register().status == 200
    answered = alice.invite(bob.aor)
    assert answered.status == 200
    # RFC 3261 §16.6 step 4: the proxy stays in the path of the dialog.
    assert [value for value in answered.all("Record-Route") if ";lr" in value]
    assert alice.hang_up(answered).status == 200
    assert bob.calls_taken == 1


def test_unknown_users_and_foreign_domains(server: Installation, make_phone: MakePhone) -> None:
    alice = make_phone(server, "alice")
    assert alice.invite("sip:nobody@127.0.0.1").status == 480
    assert alice.invite("sip:bob@elsewhere.example.net").status == 403


def test_registrations_survive_a_restart(
    server: Installation, make_phone: MakePhone, callee: Sipp
) -> None:
    server.register_users(50, callee)
    server.stop()
    with server:
        assert server.status()["registrations"] == 50
        answered = make_phone(server, "alice").call("sip:u000007@127.0.0.1", talk_s=0.05)
        assert answered.status == 200
