"""A policy that leaks on purpose: replaced in order above the soft limit, ended above the hard."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from loadtest.phone import NoAnswerError, Phone
from loadtest.sipp import Load, Sipp
from tests.integration.conftest import MakePhone, StartServer
from tests.integration.installation import Installation

SOFT_MB = 150
HARD_MB = 300

LEAKING = """\
from sipshard import Forward, Reject, Respond, Router, Save

router = Router()
leaked = []


@router.request("REGISTER")
def register(request):
    return Save(request.to_uri.aor)


@router.request("MESSAGE")
def leak(request):
    leaked.append(b"x" * (int(request.uri.user) << 20))
    return Respond(200)


@router.request("INVITE")
def invite(request, location):
    bindings = location.lookup(request.uri)
    return Forward(bindings, record_route=True) if bindings else Reject(480)
"""


@pytest.fixture
def leaking(start_server: StartServer, tmp_path: Path) -> Installation:
    """A server whose policy keeps as many MiB as a MESSAGE's user part says."""
    path = tmp_path / "route.py"
    path.write_text(LEAKING)
    watchdog = {"interval_s": 0.1, "soft_limit_mb": SOFT_MB, "hard_limit_mb": HARD_MB}
    # Short timers: a worker that drains waits until its transactions are forgotten, 64 times T1.
    transaction = {"t1_ms": 100, "t2_ms": 400, "t4_ms": 500}
    return start_server(
        {"server": {"policy": str(path)}, "watchdog": watchdog, "transaction": transaction}
    )


def test_a_leaking_worker_is_replaced_and_no_call_fails(
    leaking: Installation, make_phone: MakePhone, callee: Sipp
) -> None:
    users = leaking.register_users(50, callee)
    phone = make_phone(leaking, "alice")
    with leaking.start_load("call_uac", Load(4_000, 200, users)) as sipp:
        replaced = _leak_until_replaced(leaking, phone, step_mb=20)
        result = sipp.wait()
    assert result.is_clean, result
    successor = leaking.workers_now()[replaced["shard"]]
    assert successor["state"] == "serving"
    assert successor["uss_bytes"] < SOFT_MB << 20
    assert "soft" in leaking.log.read_text()


def test_status_shows_what_a_worker_uses(leaking: Installation, make_phone: MakePhone) -> None:
    phone = make_phone(leaking, "alice")
    before = sum(worker["uss_bytes"] for worker in leaking.workers_now())
    assert before > 0
    assert phone.request("MESSAGE", "sip:30@127.0.0.1").status == 200

    def has_grown() -> bool:
        grown = sum(worker["uss_bytes"] for worker in leaking.workers_now()) - before
        return bool(grown >= 30 << 20)

    leaking.wait_for("the leak shows in status", has_grown)
    for worker in leaking.workers_now():
        assert worker["rss_bytes"] >= worker["uss_bytes"]
        assert worker["descriptors"] > 0


def test_a_worker_above_the_hard_limit_is_ended(
    leaking: Installation, make_phone: MakePhone
) -> None:
    phone = make_phone(leaking, "alice", timeout_s=2.0)
    before = {worker["pid"] for worker in leaking.workers_now()}
    # The worker may be gone before its answer is sent.
    with suppress(NoAnswerError):
        phone.request("MESSAGE", f"sip:{HARD_MB + 100}@127.0.0.1")
    leaking.wait_for("one worker is new", lambda: len(_pids(leaking) - before) == 1)
    leaking.wait_for("both serve", lambda: _states(leaking) == ["serving", "serving"])
    assert "hard" in leaking.log.read_text()
    assert phone.request("MESSAGE", "sip:0@127.0.0.1").status == 200


def test_a_stop_does_not_wait_for_a_drain(leaking: Installation, make_phone: MakePhone) -> None:
    """A drain lets transactions linger for 64 times T1 (Timer J); a stop waits for outcomes."""
    phone = make_phone(leaking, "alice")

    def is_draining() -> bool:
        # In small steps: the hard limit would end the worker before it drains.
        phone.request("MESSAGE", "sip:5@127.0.0.1")
        return "draining" in _states(leaking)

    leaking.wait_for("a worker drains", is_draining)
    assert leaking.process is not None
    leaking.process.terminate()
    assert leaking.process.wait(5) == 0
    assert " error " not in leaking.log.read_text()


BLOCKING = """\
import time
from sipshard import Respond, Router

router = Router()


@router.request("MESSAGE")
def block(request):
    time.sleep(60)


@router.request("OPTIONS")
def options(request):
    return Respond(200)
"""


def test_a_policy_that_blocks_costs_its_own_worker_only(
    start_server: StartServer, make_phone: MakePhone, tmp_path: Path
) -> None:
    policy = tmp_path / "blocking.py"
    policy.write_text(BLOCKING, encoding="utf-8")
    server = start_server(
        {"server": {"policy": str(policy)}, "watchdog": {"heartbeat_timeout_s": 1.5}}
    )
    before = server.workers_now()
    # Repeated requests would block the successor, too: this phone asks once.
    with suppress(NoAnswerError):
        make_phone(server, "alice", timeout_s=0.4).request("MESSAGE", "sip:x@127.0.0.1")
    bob = make_phone(server, "bob", timeout_s=0.3)
    server.wait_for("the worker is new", lambda: _is_new(server))
    server.wait_for("both serve", lambda: all(_is_served(bob) for _ in range(8)))
    after = server.workers_now()
    changed = [new["pid"] != old["pid"] for new, old in zip(after, before, strict=True)]
    assert sorted(changed) == [False, True], "the other worker goes on"
    assert "something in it blocks" in server.log.read_text()


def _is_new(server: Installation) -> bool:
    return sorted(worker["generation"] for worker in server.workers_now()) == [1, 2]


def _is_served(phone: Phone) -> bool:
    with suppress(NoAnswerError):
        return phone.request("OPTIONS", "sip:x@127.0.0.1").status == 200
    return False


def _leak_until_replaced(server: Installation, phone: Phone, step_mb: int) -> dict[str, Any]:
    """Leaks, each time in the worker that chance chooses; the worker that was replaced."""
    before = server.workers_now()
    for _ in range(2 * SOFT_MB // step_mb):
        phone.request("MESSAGE", f"sip:{step_mb}@127.0.0.1")
    known = {worker["pid"] for worker in before}
    server.wait_for("a worker is new", lambda: bool(_pids(server) - known))
    server.wait_for("both serve", lambda: _states(server) == ["serving", "serving"])
    return next(worker for worker in server.workers_now() if worker["pid"] not in known)


def _pids(server: Installation) -> set[int]:
    return {worker["pid"] for worker in server.workers_now()}


def _states(server: Installation) -> list[str]:
    return [worker["state"] for worker in server.workers_now()]
