"""The janitor's chores, on a real table with a clock that only we move."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sipshard.registrar.binding import Binding
from sipshard.registrar.expiry import BATCH
from sipshard.registrar.location import LocationError, LocationService
from sipshard.registrar.transaction import WriteTransaction
from sipshard.workers.janitor import Chores

NOW_S = 1_000_000


@pytest.fixture
def location(tmp_path: Path) -> Iterator[LocationService]:
    service = LocationService(tmp_path, map_size_bytes=4 << 20, clock=lambda: NOW_S)
    yield service
    service.close()


def register(location: LocationService, count: int, expires_at_s: int) -> None:
    binding = Binding("sip:a@192.0.2.1", 1000, expires_at_s, "call", 1)

    def store_all(transaction: WriteTransaction) -> None:
        for number in range(count):
            transaction.store(b"user%d@example.com" % number, None, (binding,))

    location.write(store_all)


def test_a_sweep_removes_what_has_expired_batch_by_batch(location: LocationService) -> None:
    register(location, BATCH + 1, NOW_S)
    chores = Chores(location, "disk")
    assert not chores.sweep(NOW_S - 1)
    assert location.statistics().bindings == BATCH + 1
    assert chores.sweep(NOW_S)
    assert location.statistics().bindings == 1
    assert not chores.sweep(NOW_S)
    assert location.statistics().bindings == 0


class Sick:
    """A table on a full disk."""

    def __init__(self) -> None:
        self.used_percent = 10.0
        self.syncs = 0
        self.checks = 0

    def has_due(self, _now_s: int) -> bool:
        return True

    def write(self, _work: object) -> None:
        raise LocationError("disk full")

    def sync(self) -> None:
        self.syncs += 1
        raise LocationError("disk full")

    def reader_check(self) -> int:
        self.checks += 1
        return 2

    def statistics(self) -> object:
        return type("Statistics", (), {"map_used_percent": self.used_percent})


def test_trouble_is_logged_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    chores = Chores(Sick(), "disk")  # type: ignore[arg-type]  # the part that the chores use
    for _ in range(3):
        assert not chores.sweep(NOW_S)
    assert caplog.text.count("disk full") == 1


@pytest.mark.parametrize(("durability", "syncs"), [("disk", 0), ("process", 1)])
def test_a_tick_syncs_where_commits_do_not(durability: str, syncs: int) -> None:
    sick = Sick()
    Chores(sick, durability).tick()  # type: ignore[arg-type]  # the part that the chores use
    assert (sick.syncs, sick.checks) == (syncs, 1)


def test_a_full_map_is_announced_once_each_time(caplog: pytest.LogCaptureFixture) -> None:
    sick = Sick()
    chores = Chores(sick, "disk")  # type: ignore[arg-type]  # the part that the chores use
    for used_percent in (79.9, 80.0, 90.0, 50.0, 81.0):
        sick.used_percent = used_percent
        chores.tick()
    alarms = [each.message for each in caplog.records if "full" in each.message]
    assert [message.split(" %")[0][-2:] for message in alarms] == ["80", "81"]
