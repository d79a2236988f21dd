"""The status of the server, from pages and counters."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from sipshard.control.status import Moment, WriteTrouble, status
from sipshard.metrics import total


class Location(NamedTuple):
    state: str = "ok"
    error: str = ""
    aors: int = 2
    bindings: int = 3
    map_used_percent: float = 12.5


class Pages:
    """Two workers: one that serves, one that has never come up."""

    workers = 2

    def __init__(self) -> None:
        self.counts = [{"requests": 3, "bindings_saved": 1}, {"requests": 4, "bindings_saved": 0}]

    def page(self, shard: int) -> dict[str, int]:
        names = (
            "pid generation started_unix_ms heartbeat_ms state transactions connections "
            "unfinished queue_delay_ms rss_bytes uss_bytes cpu_ms descriptors restarts"
        )
        serving = (71, 2, 1_000_000, 49_900, 1, 8, 7, 5, 6, 4096, 2048, 1500, 20, 1)
        values = serving if shard == 0 else (0,) * 14
        return dict(zip(names.split(), values, strict=True))

    def counters(self, shard: int) -> dict[str, int]:
        return self.counts[shard]


NOW = Moment(monotonic_s=50.0, unix_s=1010.5)


def test_the_promised_keys() -> None:
    answer = status(Pages(), ["udp:127.0.0.1:5060"], Location(), WriteTrouble(), NOW)
    assert answer["listen"] == ["udp:127.0.0.1:5060"]
    assert answer["registrations"] == 3
    assert answer["counters"] == {"requests": 7, "bindings_saved": 1}
    assert answer["workers"][0] == {
        "shard": 0,
        "pid": 71,
        "generation": 2,
        "state": "serving",
        "uptime_s": 10.5,
        "heartbeat_age_s": 0.1,
        "restarts": 1,
        "rss_bytes": 4096,
        "uss_bytes": 2048,
        "cpu_s": 1.5,
        "descriptors": 20,
        "transactions": 8,
        "unfinished": 5,
        "queue_delay_ms": 6,
        "dialogs": 0,
        "connections": 7,
        "counters": {"requests": 3, "bindings_saved": 1},
    }
    assert answer["location"] == {
        "state": "ok",
        "error": "",
        "map_used_percent": 12.5,
        "bindings": 3,
        "aors": 2,
    }


def test_a_worker_that_has_never_come_up_has_no_age() -> None:
    worker = status(Pages(), [], Location(), WriteTrouble(), NOW)["workers"][1]
    assert (worker["state"], worker["uptime_s"], worker["heartbeat_age_s"]) == ("booting", 0, 0)


def test_a_state_of_a_later_version_is_shown_as_it_is() -> None:

    class Later(Pages):
        def page(self, shard: int) -> dict[str, int]:
            return super().page(shard) | {"state": 9}

    assert status(Later(), [], Location(), WriteTrouble(), NOW)["workers"][0]["state"] == "9"


def test_writes_that_fail_show_as_read_only_until_one_succeeds() -> None:
    trouble = WriteTrouble()
    pages = Pages()

    def state() -> str:
        location = status(pages, [], Location(), trouble, NOW)["location"]
        assert bool(location["error"]) is (location["state"] != "ok")
        return str(location["state"])

    assert state() == "ok"
    pages.counts[1]["location_write_failures"] = 1
    assert [state(), state()] == ["read-only", "read-only"]
    pages.counts[0]["bindings_saved"] += 1
    assert state() == "ok"


def test_the_locations_own_trouble_comes_first() -> None:
    trouble = WriteTrouble()
    trouble.observe({"location_write_failures": 1})
    answer = status(Pages(), [], Location("failed", "no such directory"), trouble, NOW)
    assert answer["location"]["state"] == "failed"
    assert answer["location"]["error"] == "no such directory"


@pytest.mark.parametrize(
    ("parts", "sums"),
    [([], {}), ([{"a": 1}, {"a": 2, "b": 3}], {"a": 3, "b": 3}), ([{}, {"b": 0}], {"b": 0})],
)
def test_counters_are_added_by_name(parts: list[dict[str, int]], sums: dict[str, int]) -> None:
    assert total(parts) == sums
