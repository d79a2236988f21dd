"""The log is bounded, and says what it left out."""

from __future__ import annotations

import io
import logging

import pytest

from sipshard import log


class Clock:
    """Stands still unless it is moved."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def record(text: str = "line %d", *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("sipshard", logging.ERROR, __file__, 1, text, arguments, None)


def passed(limit: log.LineLimit, lines: int) -> int:
    return sum(limit.filter(record("line %d", number)) for number in range(lines))


def test_a_flood_is_cut_and_then_trickles() -> None:
    clock = Clock()
    limit = log.LineLimit(clock)
    assert passed(limit, 10_000) == log.LINES_AT_ONCE
    clock.now += 2.0
    assert passed(limit, 10_000) == 2 * log.LINES_PER_S


def test_the_allowance_does_not_grow_beyond_its_bound() -> None:
    clock = Clock()
    limit = log.LineLimit(clock)
    clock.now += 3600.0
    assert passed(limit, 10_000) == log.LINES_AT_ONCE


def test_the_next_line_says_how_many_were_dropped() -> None:
    clock = Clock()
    limit = log.LineLimit(clock)
    passed(limit, log.LINES_AT_ONCE + 41)
    clock.now += 1.0
    first, second = record("%s", "back"), record("%s", "again")
    assert limit.filter(first)
    assert limit.filter(second)
    assert first.getMessage() == "back [41 lines before this were dropped]"
    assert second.getMessage() == "again"


def test_the_limit_is_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log.logger, "handlers", [])
    monkeypatch.setattr(log.logger, "level", log.logger.level)
    monkeypatch.setattr(log.logger, "propagate", log.logger.propagate)
    stream = io.StringIO()
    log.configure("info", "text", stream)
    for _ in range(1000):
        log.logger.error("the policy raised")
    written = stream.getvalue().count("\n")
    assert log.LINES_AT_ONCE <= written < 2 * log.LINES_AT_ONCE
