"""The state of the server, put together for ``sipshard status`` and whoever monitors it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sipshard import metrics
from sipshard.control.protocol import Answer

STATES = ("booting", "serving", "draining", "stopping")

_FAILURES = "location_write_failures"
_SUCCESSES = "bindings_saved"


class Pages(Protocol):
    """The part of the shared region that is shown; ``shm.Region`` is one."""

    @property
    def workers(self) -> int:
        """How many workers there are."""
        ...

    def page(self, shard: int) -> Mapping[str, int]:
        """What the worker of a shard says of itself."""
        ...

    def counters(self, shard: int) -> Mapping[str, int]:
        """What the workers of a shard have counted."""
        ...


class LocationStatistics(Protocol):
    """What the location service says of itself."""

    @property
    def state(self) -> str:
        """ "ok", or what is wrong."""
        ...

    @property
    def error(self) -> str:
        """Why it is wrong, or nothing."""
        ...

    @property
    def aors(self) -> int:
        """Addresses-of-record in the table."""
        ...

    @property
    def bindings(self) -> int:
        """Bindings in the table."""
        ...

    @property
    def map_used_percent(self) -> float:
        """How full the LMDB map is."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """One point in time on two clocks: the monotonic one, and Unix time."""

    monotonic_s: float
    unix_s: float


class WriteTrouble:
    """Notices that workers cannot write registrations, from counters that only grow.

    Trouble lasts until a registration could be written again, however long nobody tries.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._successes = 0
        self.is_present = False

    def observe(self, counters: Mapping[str, int]) -> None:
        """Takes the totals as they are now; call it about every second."""
        failures, successes = counters.get(_FAILURES, 0), counters.get(_SUCCESSES, 0)
        if failures > self._failures:
            self.is_present = True
        elif successes > self._successes:
            self.is_present = False
        self._failures, self._successes = failures, successes


def status(
    pages: Pages,
    listen: Sequence[str],
    location: LocationStatistics,
    trouble: WriteTrouble,
    now: Moment,
) -> Answer:
    """The answer to ``{"verb": "status"}``; its keys are an interface (design of the status)."""
    counters = [dict(pages.counters(shard)) for shard in range(pages.workers)]
    totals = metrics.total(counters)
    trouble.observe(totals)
    return {
        "workers": [
            {**_worker(shard, pages.page(shard), now), "counters": counters[shard]}
            for shard in range(pages.workers)
        ],
        "registrations": location.bindings,
        "listen": list(listen),
        "counters": totals,
        "location": _location(location, trouble.is_present),
    }


def _worker(shard: int, page: Mapping[str, int], now: Moment) -> dict[str, Any]:
    state = page["state"]
    return {
        "shard": shard,
        "pid": page["pid"],
        "generation": page["generation"],
        "state": STATES[state] if state < len(STATES) else str(state),
        "uptime_s": _since_s(page["started_unix_ms"], now.unix_s),
        "heartbeat_age_s": _since_s(page["heartbeat_ms"], now.monotonic_s),
        "restarts": page["restarts"],
        "rss_bytes": page["rss_bytes"],
        "uss_bytes": page["uss_bytes"],
        "cpu_s": page["cpu_ms"] / 1000,
        "descriptors": page["descriptors"],
        "transactions": page["transactions"],
        "unfinished": page["unfinished"],
        "queue_delay_ms": page["queue_delay_ms"],
        # Nothing in this version has a dialog table; the key is promised.
        "dialogs": 0,
        "connections": page["connections"],
    }


def _since_s(then_ms: int, now_s: float) -> float:
    """Seconds since a stamp; 0 for a stamp that was never written."""
    return max(0.0, round(now_s - then_ms / 1000, 3)) if then_ms else 0.0


def _location(statistics: LocationStatistics, has_trouble: bool) -> dict[str, Any]:
    state, error = statistics.state, statistics.error
    if state == "ok" and has_trouble:
        state, error = "read-only", "registrations cannot be written; the log says why"
    return {
        "state": state,
        "error": error,
        "map_used_percent": statistics.map_used_percent,
        "bindings": statistics.bindings,
        "aors": statistics.aors,
    }
