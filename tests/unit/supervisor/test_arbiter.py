"""The arbiter: start, respawn, back-off, stop."""

from __future__ import annotations

import logging
import signal
from itertools import pairwise

import pytest

from sipshard.config import Configuration
from sipshard.supervisor.arbiter import BOOT_TIMEOUT_S, OUTSIDE_STOP_PAUSE_S
from sipshard.supervisor.child import BACK_OFF_S, Role
from sipshard.supervisor.events import ChildFailed, SignalReceived
from sipshard.supervisor.shutdown import GRACE_S
from tests.unit.supervisor.world import ROLES, WORKERS, Spawned, World

WORKER = WORKERS[0]


def test_one_child_for_every_role_then_ready() -> None:
    world = World()
    world.stop_at(1)
    assert world.run() == 0
    assert [child.role for child in world.spawned] == list(ROLES)
    assert all(child.generation == 1 and not child.standby for child in world.spawned)
    assert world.announced_at == pytest.approx(1000.05)


def test_ready_waits_for_the_slowest_child() -> None:
    world = World(boot_s=3.0)
    world.stop_at(5)
    world.run()
    assert world.announced_at == pytest.approx(1003.0)


@pytest.mark.parametrize("exit_code", [3, 4])
def test_a_child_that_cannot_boot_stops_the_start_with_its_exit_code(exit_code: int) -> None:
    world = World()

    def fail(child: Spawned) -> None:
        if child.role == WORKER:
            world.hear(ChildFailed(child.pid, exit_code, "for a reason"), 0.02)
            world.exit(child.pid, exit_code, 0.03)

    world.on_spawn = fail
    assert world.run() == exit_code
    assert world.announced_at is None
    assert not world.living
    assert len(world.of(WORKER)) == 1


def test_a_child_that_crashes_while_it_boots_stops_the_start() -> None:
    world = World()
    world.on_spawn = lambda child: world.exit(child.pid, -signal.SIGSEGV, 0.01)
    assert world.run() == 3


def test_a_child_that_never_boots_stops_the_start() -> None:
    world = World(boot_s=10_000)
    assert world.run() == 3
    assert world.now == pytest.approx(1000 + BOOT_TIMEOUT_S, abs=1)


def test_a_fork_that_fails_stops_the_start() -> None:
    assert World(fork_error=OSError("no more processes")).run() == 3


def test_a_dead_worker_is_followed_at_once() -> None:
    world = World()
    world.at(2, lambda: world.exit(world.newest(WORKER).pid, -signal.SIGKILL))
    world.stop_at(3)
    assert world.run() == 0
    _first, second = world.of(WORKER)
    assert (second.generation, second.standby) == (2, False)
    assert second.at == pytest.approx(1002.0)
    assert world.restarts == {0: 1}
    assert len(world.spawned) == len(ROLES) + 1


def test_the_janitor_hears_of_every_death() -> None:
    world = World()
    world.at(2, lambda: world.exit(world.newest(WORKER).pid, -signal.SIGKILL))
    world.stop_at(3)
    world.run()
    assert (world.newest(Role("janitor")).pid, "check_readers") in world.commands


def test_the_janitor_and_control_are_followed_like_workers() -> None:
    world = World()
    for role in (Role("control"), Role("janitor")):
        world.at(2, lambda role=role: world.exit(world.newest(role).pid, 1))  # type: ignore[misc]  # mypy knows no default in a lambda
    world.stop_at(3)
    world.run()
    assert len(world.of(Role("control"))) == len(world.of(Role("janitor"))) == 2


def test_failures_in_a_row_are_tried_ever_more_rarely() -> None:
    world = World()

    def fail(child: Spawned) -> None:
        if child.role == WORKER and child.generation > 1:
            world.exit(child.pid, 3)

    world.on_spawn = fail
    world.at(2, lambda: world.exit(world.newest(WORKER).pid, -signal.SIGKILL))
    world.stop_at(30)
    assert world.run() == 0
    births = [child.at for child in world.of(WORKER)][1:]
    pauses = [later - earlier for earlier, later in pairwise(births)]
    assert births[0] == pytest.approx(1002.0 + BACK_OFF_S[0])
    assert pauses[:5] == pytest.approx([0.1, 0.5, 2.0, 5.0, 5.0])


def test_a_child_that_served_for_a_while_resets_the_back_off() -> None:
    world = World()
    for second in (2, 4, 6, 8):
        world.at(second, lambda: world.exit(world.newest(WORKER).pid, -signal.SIGKILL))
    world.stop_at(9)
    world.run()
    assert [child.at for child in world.of(WORKER)[1:]] == pytest.approx([1002, 1004, 1006, 1008])


def test_stop_ends_the_workers_first() -> None:
    world = World()
    world.stop_at(1)
    assert world.run() == 0
    order = [
        next(c.role.kind for c in world.spawned if c.pid == pid) for _, pid, _ in world.signals
    ]
    assert order == ["signalling", "signalling", "control", "janitor"]
    assert {number for _, _, number in world.signals} == {signal.SIGTERM}
    assert world.now < 1001.1


def test_stop_has_a_bound() -> None:
    world = World(settings=Configuration.model_validate({"server": {"stop_timeout_s": 4.0}}))
    world.on_spawn = lambda child: world.deaf.add(child.pid) if child.role == WORKER else None
    world.stop_at(1)
    assert world.run() == 0
    deaf = world.newest(WORKER).pid
    killed = {pid: at for at, pid, number in world.signals if number == signal.SIGKILL}
    assert killed == {deaf: pytest.approx(1001 + 4 + GRACE_S)}


def test_a_second_stop_ends_everything_at_once() -> None:
    world = World()
    world.on_spawn = lambda child: world.deaf.add(child.pid)
    world.stop_at(1)
    world.at(2, lambda: world.hear(SignalReceived(signal.SIGINT)))
    assert world.run() == 0
    assert world.now == pytest.approx(1002.0)


def test_stop_while_starting() -> None:
    world = World(boot_s=5.0)
    world.stop_at(1)
    assert world.run() == 0
    assert world.announced_at is None


def test_nobody_is_followed_during_a_stop() -> None:
    world = World()
    world.on_spawn = lambda child: world.deaf.add(child.pid)
    world.stop_at(1)
    world.at(2, lambda: world.exit(world.newest(WORKER).pid, -signal.SIGSEGV))
    world.run()
    assert len(world.spawned) == len(ROLES)


def test_sighup_changes_nothing() -> None:
    world = World()
    world.at(1, lambda: world.hear(SignalReceived(signal.SIGHUP)))
    world.stop_at(2)
    assert world.run() == 0
    assert world.now > 1002


def test_the_loop_sleeps_while_nothing_is_due() -> None:
    world = World()
    world.deaf = set(range(100, 104))
    world.stop_at(100)
    world.run()
    # One turn a second for the watchdog, and a few for start and stop.
    assert world.waits < 140


def test_an_exit_of_a_stranger_is_ignored() -> None:
    world = World()
    world.living[7] = Spawned(7, WORKER, 1, False, 0.0)
    world.at(1, lambda: world.exit(7, 0))
    world.stop_at(2)
    assert world.run() == 0
    assert len(world.spawned) == len(ROLES)


def test_children_that_heard_of_the_stop_first_are_no_trouble(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """systemd sends SIGTERM to the whole group: exits arrive together with the signal."""
    world = World()

    def stop_all() -> None:
        for each in list(world.living.values()):
            world.exit(each.pid, 0)

    world.stop_at(5)
    world.at(5, stop_all)
    assert world.run() == 0
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
    assert len(world.spawned) == len(ROLES)
    assert world.restarts == {}


def test_a_crash_during_a_stop_is_reported_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    world.stop_at(5)
    world.at(5, lambda: world.exit(world.of(WORKER)[0].pid, -signal.SIGSEGV))
    world.run()
    assert "SIGSEGV" in caplog.text


def test_the_work_of_a_dead_worker_is_struck_off() -> None:
    """Workers that stop wait for each other's unfinished work; nobody finishes that of the dead."""
    world = World()
    world.at(5, lambda: world.exit(world.of(WORKER)[0].pid, -signal.SIGKILL))
    world.at(6, lambda: world.cleared.append(-1))
    world.stop_at(7)
    world.run()
    assert world.cleared[: world.cleared.index(-1)] == [WORKER.shard]


@pytest.mark.parametrize("state", ["serving", "booting"])
def test_children_may_stop_before_the_supervisor_hears_its_own_signal(
    caplog: pytest.LogCaptureFixture, state: str
) -> None:
    world = World(boot_s=0.05 if state == "serving" else 10.0)
    told = [0, 0, -signal.SIGTERM, -signal.SIGTERM]

    def stop_all() -> None:
        for each, exit_code in zip(list(world.living.values()), told, strict=True):
            world.exit(each.pid, exit_code)

    world.at(5, stop_all)
    world.stop_at(5.05)
    assert world.run() == 0
    assert [each for each in caplog.records if each.levelno >= logging.ERROR] == []
    assert len(world.spawned) == len(ROLES)


def test_a_child_that_was_stopped_from_outside_is_followed() -> None:
    world = World()
    world.at(5, lambda: world.exit(world.of(WORKER)[0].pid, 0))
    world.stop_at(10)
    world.run()
    _, second = world.of(WORKER)
    assert second.at == pytest.approx(1005 + OUTSIDE_STOP_PAUSE_S)
