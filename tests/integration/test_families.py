"""Listeners of both address families: a call that enters by one and leaves by the other."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtest.phone import Phone, record_routes
from tests.integration.installation import Installation

DOMAIN = "example.com"
HOSTS = {4: "127.0.0.1", 6: "::1"}


@pytest.mark.parametrize(("caller", "callee"), [(6, 6), (4, 6), (6, 4)])
@pytest.mark.parametrize("workers", [1, 4])
def test_both_sides_can_end_a_call(
    tmp_path: Path, cleanup: ExitStack, caller: int, callee: int, workers: int
) -> None:
    """Where the families differ, the proxy needs two Record-Routes (RFC 5658 §3)."""
    server = Installation(tmp_path / "server", workers=workers)
    listen = [f"udp:{host}:{server.port}" for host in ("127.0.0.1", "[::1]")]
    server.tables = {"server": {"listen": listen, "domains": [DOMAIN]}}
    cleanup.enter_context(server)
    alice = cleanup.enter_context(_phone("alice", HOSTS[caller], server.port))
    bob = cleanup.enter_context(_phone("bob", HOSTS[callee], server.port))
    assert bob.register().status == 200
    answered = alice.invite(bob.aor)
    assert answered.status == 200
    assert len(record_routes(answered)) == (1 if caller == callee else 2)
    assert alice.hang_up(answered).status == 200
    # And the other way round: the callee's route set is the same one, read forwards.
    assert alice.invite(bob.aor).status == 200
    assert bob.hang_up_taken().status == 200
    assert sum(server.counter("send_errors")) == 0


def _phone(user: str, host: str, port: int) -> Phone:
    return Phone(user, DOMAIN, (host, port), host=host, timeout_s=3.0)
