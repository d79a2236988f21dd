"""What the watchdog concludes from what it sees."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from sipshard.config import Watchdog as Settings
from sipshard.supervisor.child import Child, ChildState, Role
from sipshard.supervisor.watchdog import (
    MEBIBYTE,
    PsutilSampler,
    Sample,
    Verdict,
    Watchdog,
    judge_memory,
    judge_silence,
)

SETTINGS = Settings(soft_limit_mb=100, hard_limit_mb=200)


@pytest.mark.parametrize(
    ("soft", "hard", "mebibytes", "verdict"),
    [
        (100, 200, 100, Verdict.FINE),
        (100, 200, 101, Verdict.REPLACE),
        (100, 200, 200, Verdict.REPLACE),
        (100, 200, 201, Verdict.END),
        (0, 200, 150, Verdict.FINE),
        (0, 200, 201, Verdict.END),
        (100, 0, 5000, Verdict.REPLACE),
        (0, 0, 5000, Verdict.FINE),
    ],
)
def test_memory(soft: int, hard: int, mebibytes: int, verdict: Verdict) -> None:
    settings = Settings(soft_limit_mb=soft, hard_limit_mb=hard)
    judgement = judge_memory(settings, mebibytes * MEBIBYTE)
    assert judgement.verdict is verdict
    assert (f"{mebibytes} MiB" in judgement.reason) is (verdict is not Verdict.FINE)


def test_silence() -> None:
    settings = Settings(heartbeat_timeout_s=10)
    assert judge_silence(settings, 10.0).verdict is Verdict.FINE
    judgement = judge_silence(settings, 10.1)
    assert judgement.verdict is Verdict.END
    assert "no heartbeat for 10.1 s, heartbeat_timeout_s = 10" in judgement.reason


class Picture:
    """A process with a constant size, and a page that a test writes."""

    def __init__(self) -> None:
        self.fields: dict[str, int] = {"pid": 0, "heartbeat_ms": 0}
        self.samples: list[int] = []
        self.is_gone = False

    def sample(self, pid: int) -> Sample | None:
        return None if self.is_gone else Sample(1, 1, 1, 1, 1)

    def forget(self, pid: int) -> None:
        pass

    def page(self, shard: int) -> Mapping[str, int]:
        return self.fields

    def write_sample(
        self, shard: int, rss_bytes: int, uss_bytes: int, cpu_ms: int, descriptors: int
    ) -> None:
        self.samples.append(shard)

    def clear_work(self, shard: int) -> None:
        pass

    def write_restarts(self, shard: int, restarts: int) -> None:
        pass


def child(state: ChildState = ChildState.SERVING) -> Child:
    return Child(7, Role("signalling", 3), 1, False, alive_at=0.0, deadline=None, state=state)


def test_silence_is_judged_only_of_those_who_serve() -> None:
    picture = Picture()
    watchdog = Watchdog(SETTINGS, picture, picture)
    for state in ChildState:
        expected = Verdict.END if state is ChildState.SERVING else Verdict.FINE
        assert watchdog.look(child(state), 100.0).verdict is expected


def test_a_standby_child_leaves_the_page_to_the_one_that_serves() -> None:
    picture = Picture()
    watchdog = Watchdog(SETTINGS, picture, picture)
    watchdog.look(child(ChildState.STANDBY), 1.0)
    assert picture.samples == []
    watchdog.look(child(ChildState.DRAINING), 1.0)
    assert picture.samples == [3]


def test_a_process_that_is_gone_is_nobodys_fault() -> None:
    picture = Picture()
    picture.is_gone = True
    assert Watchdog(SETTINGS, picture, picture).look(child(), 100.0).verdict is Verdict.FINE


def test_nobody_is_silent_while_the_watchdog_slept_itself() -> None:
    picture = Picture()
    watchdog = Watchdog(SETTINGS, picture, picture)
    assert watchdog.is_due(1.0)
    assert not watchdog.is_due(1.5)
    assert watchdog.is_due(3600.0)
    assert watchdog.look(child(), 3600.0).verdict is Verdict.FINE
    assert watchdog.look(child(), 3611.0).verdict is Verdict.END


def test_a_real_process_is_measured() -> None:
    sampler = PsutilSampler()
    sample = sampler.sample(os.getpid())
    assert sample is not None
    assert 0 < sample.allocated_bytes < sample.rss_bytes
    assert sample.uss_bytes > 0
    assert sample.descriptors > 2
    sampler.forget(os.getpid())
    assert sampler.sample(2**22 + 1) is None


def test_a_sample_that_the_kernel_refuses_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_pid: int) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("psutil.Process", refuse)
    assert PsutilSampler().sample(os.getpid()) is None
