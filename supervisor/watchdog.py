"""The watchdog: what it measures of every child, and what it concludes.

Memory is judged by what a process has allocated itself: resident anonymous pages, that is RSS
without shared and file-backed pages. RSS alone would blame a worker for the location's pages in
LMDB, which grow with the subscribers and belong to nobody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import psutil

from sipshard.config import Watchdog as WatchdogSettings
from sipshard.supervisor.child import Child, ChildState

MEBIBYTE = 1024 * 1024

# USS makes the kernel walk all pages of the process while it holds a lock that the process may
# want (smaps_rollup); ten times as rare is often enough for a number that only people read.
_LOOKS_PER_USS = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at one process."""

    rss_bytes: int
    uss_bytes: int
    allocated_bytes: int
    cpu_ms: int
    descriptors: int


class Sampler(Protocol):
    """Looks at processes."""

    def sample(self, pid: int) -> Sample | None:
        """Measures a process; ``None`` when it is gone."""
        ...

    def forget(self, pid: int) -> None:
        """Drops what is kept of a process that has exited."""
        ...


class Pages(Protocol):
    """The part of the shared region that the supervisor uses; ``shm.Region`` is one."""

    def page(self, shard: int) -> Mapping[str, int]:
        """What the worker of a shard says of itself."""
        ...

    def write_sample(
        self, shard: int, rss_bytes: int, uss_bytes: int, cpu_ms: int, descriptors: int
    ) -> None:
        """Stores what the supervisor measured."""
        ...

    def clear_work(self, shard: int) -> None:
        """Notes that the worker of a shard is gone, and its transactions with it."""
        ...

    def write_restarts(self, shard: int, restarts: int) -> None:
        """Stores how often the worker of a shard ended unplanned."""
        ...


class Verdict(Enum):
    """What is to happen to a child."""

    FINE = auto()
    REPLACE = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict and, unless it is FINE, its reason in words for the log."""

    verdict: Verdict
    reason: str = ""


FINE = Judgement(Verdict.FINE)


def judge_memory(settings: WatchdogSettings, allocated_bytes: int) -> Judgement:
    """Compares what a process has allocated with the two limits; a limit of 0 never strikes."""
    allocated_mb = allocated_bytes / MEBIBYTE
    if 0 < settings.hard_limit_mb < allocated_mb:
        limit = f"hard_limit_mb = {settings.hard_limit_mb}"
        return Judgement(Verdict.END, f"{allocated_mb:.0f} MiB allocated, {limit}")
    if 0 < settings.soft_limit_mb < allocated_mb:
        limit = f"soft_limit_mb = {settings.soft_limit_mb}"
        return Judgement(Verdict.REPLACE, f"{allocated_mb:.0f} MiB allocated, {limit}")
    return FINE


def judge_silence(settings: WatchdogSettings, silence_s: float) -> Judgement:
    """Compares the time since the last heartbeat with the limit."""
    if silence_s <= settings.heartbeat_timeout_s:
        return FINE
    limit = f"heartbeat_timeout_s = {settings.heartbeat_timeout_s:g}"
    advice = "something in it blocks, mostly the policy"
    return Judgement(Verdict.END, f"no heartbeat for {silence_s:.1f} s, {limit}; {advice}")


class Watchdog:
    """Looks at the children every ``interval_s`` and says what is to happen to each."""

    def __init__(self, settings: WatchdogSettings, sampler: Sampler, pages: Pages) -> None:
        self._settings = settings
        self._sampler = sampler
        self._pages = pages
        self._silence_counts_from = 0.0
        self.next_look_at = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time to look again; schedules the look after this one."""
        if now < self.next_look_at:
            return False
        late_s = now - self.next_look_at
        if late_s > self._settings.heartbeat_timeout_s / 2:
            # We slept ourselves (a suspended machine, SIGSTOP to the group), so the children
            # probably did, too: their silence counts from now on only.
            self._silence_counts_from = now
        self.next_look_at = now + self._settings.interval_s
        return True

    def look(self, child: Child, now: float) -> Judgement:
        """Samples one child, publishes the sample on its shard's page and judges it."""
        sample = self._sampler.sample(child.pid)
        if sample is None:
            return FINE
        # During a recycle two children share a page; it shows the one that answers calls.
        if child.role.has_shard and child.state is not ChildState.STANDBY:
            self._pages.write_sample(
                child.role.shard,
                sample.rss_bytes,
                sample.uss_bytes,
                sample.cpu_ms,
                sample.descriptors,
            )
        judgement = judge_memory(self._settings, sample.allocated_bytes)
        if judgement.verdict is Verdict.END or child.state is not ChildState.SERVING:
            return judgement
        silence = judge_silence(self._settings, now - self._last_beat(child))
        return judgement if silence is FINE else silence

    def forget(self, child: Child) -> None:
        """Drops what is kept of a child that has exited."""
        self._sampler.forget(child.pid)

    def _last_beat(self, child: Child) -> float:
        beat = max(child.alive_at, self._silence_counts_from)
        if not child.role.has_shard:
            return beat
        page = self._pages.page(child.role.shard)
        # Until a worker has taken the page over it shows its predecessor's heartbeat.
        return max(beat, page["heartbeat_ms"] / 1000) if page["pid"] == child.pid else beat


class PsutilSampler:
    """Looks at processes with psutil."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._looks: dict[int, int] = {}
        self._uss_bytes: dict[int, int] = {}

    def sample(self, pid: int) -> Sample | None:
        """Measures a process; ``None`` when it is gone."""
        try:
            return self._measure(pid)
        except (psutil.Error, OSError):
            # Mostly the process is gone; but whatever /proc refuses (no descriptor left to open it,
            # say), a sample less is nothing, and a supervisor less is the whole server.
            self.forget(pid)
            return None

    def forget(self, pid: int) -> None:
        """Drops what is kept of a process that has exited, before its pid is used again."""
        for table in (self._processes, self._looks, self._uss_bytes):
            table.pop(pid, None)

    def _measure(self, pid: int) -> Sample:
        process = self._processes.get(pid) or self._processes.setdefault(pid, psutil.Process(pid))
        looks = self._looks.get(pid, 0)
        self._looks[pid] = looks + 1
        if looks % _LOOKS_PER_USS == 0:
            self._uss_bytes[pid] = process.memory_full_info().uss
        with process.oneshot():
            memory = process.memory_info()
            cpu = process.cpu_times()
            return Sample(
                rss_bytes=memory.rss,
                uss_bytes=self._uss_bytes[pid],
                allocated_bytes=memory.rss - memory.shared,
                cpu_ms=int((cpu.user + cpu.system) * 1000),
                descriptors=process.num_fds(),
            )
