"""Replacing a worker above the soft limit, ending one above the hard limit or without heartbeat."""

from __future__ import annotations

import signal
from itertools import pairwise

import pytest

from sipshard.config import Configuration
from sipshard.supervisor.child import Role
from sipshard.supervisor.recycle import RECYCLE_PAUSE_S
from sipshard.workers.base import TAKE_OVER
from tests.unit.supervisor.world import ROLES, WORKERS, Spawned, World

WORKER = WORKERS[0]


def settings() -> Configuration:
    watchdog = {"soft_limit_mb": 100, "hard_limit_mb": 200, "drain_timeout_s": 30.0}
    return Configuration.model_validate({"watchdog": watchdog})


def leaking(world: World, mebibytes: int, seconds: float = 5.0) -> None:
    """The first worker of shard 0 grows at that time."""

    def grow() -> None:
        world.allocated_mb[world.of(WORKER)[0].pid] = mebibytes

    world.at(seconds, grow)


def kills(world: World) -> list[int]:
    return [pid for _, pid, number in world.signals if number == signal.SIGKILL]


def test_a_worker_above_the_soft_limit_is_replaced_after_it_has_finished() -> None:
    world = World(settings=settings())
    leaking(world, 150)
    world.at(20, lambda: world.exit(world.of(WORKER)[0].pid, 0))
    world.stop_at(30)
    assert world.run() == 0
    first, second = world.of(WORKER)
    assert (second.standby, second.generation) == (True, 2)
    drained_at = [
        at for at, pid, number in world.signals if (pid, number) == (first.pid, signal.SIGUSR1)
    ]
    assert drained_at == [pytest.approx(second.at + world.boot_s)]
    assert (second.pid, TAKE_OVER) in world.commands
    assert kills(world) == []
    assert world.restarts == {}


def test_the_successor_takes_over_only_when_the_predecessor_is_gone() -> None:
    world = World(settings=settings())
    leaking(world, 150)
    seen: list[bool] = []
    world.at(19, lambda: seen.append((world.newest(WORKER).pid, TAKE_OVER) in world.commands))
    world.at(20, lambda: world.exit(world.of(WORKER)[0].pid, 0))
    world.at(21, lambda: seen.append((world.newest(WORKER).pid, TAKE_OVER) in world.commands))
    world.stop_at(30)
    world.run()
    assert seen == [False, True]


def test_a_drain_has_a_bound() -> None:
    world = World(settings=settings())
    leaking(world, 150)
    world.stop_at(60)
    world.run()
    first, second = world.of(WORKER)
    assert kills(world) == [first.pid]
    assert (second.pid, TAKE_OVER) in world.commands
    killed_at = next(at for at, _, number in world.signals if number == signal.SIGKILL)
    assert killed_at == pytest.approx(second.at + world.boot_s + 30.0)


def test_a_successor_that_cannot_boot_leaves_the_predecessor_serving() -> None:
    world = World(settings=settings())

    def fail(child: Spawned) -> None:
        if child.standby:
            world.exit(child.pid, 4)

    world.on_spawn = fail
    leaking(world, 150)
    world.stop_at(30)
    assert world.run() == 0
    assert signal.SIGUSR1 not in {number for _, _, number in world.signals}
    tries = [child.at for child in world.of(WORKER) if child.standby]
    assert len(tries) >= 2
    assert min(b - a for a, b in pairwise(tries)) >= RECYCLE_PAUSE_S


def test_a_successor_that_dies_during_the_drain_is_followed() -> None:
    world = World(settings=settings())
    leaking(world, 150)
    world.at(10, lambda: world.exit(world.newest(WORKER).pid, -signal.SIGKILL))
    world.at(20, lambda: world.exit(world.of(WORKER)[0].pid, 0))
    world.stop_at(30)
    world.run()
    _, second, third = world.of(WORKER)
    assert third.standby
    assert third.at == pytest.approx(1010.0)
    assert (third.pid, TAKE_OVER) in world.commands
    assert (second.pid, TAKE_OVER) not in world.commands


def test_a_predecessor_that_dies_while_the_successor_boots_is_followed_by_it() -> None:
    world = World(settings=settings(), boot_s=3.0)
    leaking(world, 150)
    world.at(8, lambda: world.exit(world.of(WORKER)[0].pid, -signal.SIGKILL))
    world.stop_at(20)
    world.run()
    first, second = world.of(WORKER)
    assert first.at < second.at < 1008
    assert (second.pid, TAKE_OVER) in world.commands


def test_a_successor_takes_over_during_a_stop_too() -> None:
    """Others still wait for what arrives at its sockets."""
    world = World(settings=settings())
    leaking(world, 150)
    world.on_spawn = lambda child: world.deaf.add(child.pid)
    world.stop_at(8)
    world.at(9, lambda: world.exit(world.of(WORKER)[0].pid, 0))
    world.run()
    first, second = world.of(WORKER)
    assert (second.pid, TAKE_OVER) in world.commands
    assert (first.pid, TAKE_OVER) not in world.commands


def test_a_worker_above_the_hard_limit_is_ended_at_once_and_followed() -> None:
    world = World(settings=settings())
    leaking(world, 250)
    world.stop_at(20)
    world.run()
    first, second = world.of(WORKER)
    assert kills(world) == [first.pid]
    assert not second.standby
    assert second.at <= 1006.1


def test_a_draining_worker_is_ended_above_the_hard_limit_too() -> None:
    world = World(settings=settings())
    leaking(world, 150)
    leaking(world, 250, seconds=10.0)
    world.stop_at(20)
    world.run()
    first, second = world.of(WORKER)
    assert kills(world) == [first.pid]
    assert (second.pid, TAKE_OVER) in world.commands


def test_a_child_without_a_shard_is_stopped_and_followed() -> None:
    world = World(settings=settings())
    control = Role("control")
    world.at(5, lambda: world.allocated_mb.update({world.newest(control).pid: 150}))
    world.stop_at(20)
    world.run()
    first, second = world.of(control)
    assert not second.standby
    assert (first.pid, signal.SIGTERM) in {(pid, number) for _, pid, number in world.signals}
    assert kills(world) == []


def test_a_limit_below_what_a_worker_needs_does_not_become_a_storm() -> None:
    world = World(settings=settings())
    world.on_spawn = lambda child: world.allocated_mb.update({child.pid: 150})
    world.stop_at(25)
    world.run((WORKER,))
    assert len(world.of(WORKER)) <= 4


def test_a_worker_without_heartbeat_is_ended_and_followed() -> None:
    world = World(beats=False)
    world.pages[0] = {"pid": 100, "heartbeat_ms": 1_005_000}
    world.stop_at(20)
    world.run((WORKER,))
    first, second = world.of(WORKER)
    assert kills(world)[0] == first.pid == 100
    # The default is 10 s of silence; the watchdog looks once a second.
    assert 1015.0 <= second.at <= 1016.1


def test_a_beating_heart_is_left_alone() -> None:
    world = World()
    world.stop_at(60)
    world.run(WORKERS)
    assert kills(world) == []
    assert len(world.spawned) == len(WORKERS)


def test_the_page_of_a_predecessor_is_no_heartbeat_of_its_successor() -> None:
    world = World(beats=False)
    world.pages[0] = {"pid": 99, "heartbeat_ms": 5_000_000}
    world.stop_at(12)
    world.run((WORKER,))
    assert kills(world) == [100]


def test_samples_are_published_on_the_page() -> None:
    world = World()
    world.stop_at(3)
    world.run(ROLES)
    assert world.pages[0]["rss_bytes"] == 40 * 1024 * 1024
    assert set(world.pages) == {0, 1}
