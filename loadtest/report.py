"""The table of a comparison: medians per server, and ratios when every round was good."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from loadtest.round import PhaseResult, Plan, RoundResult


@dataclass(frozen=True, slots=True)
class Summary:
    """One phase of one server over all rounds: medians, except for the sums of what went wrong."""

    server: str
    phase: str
    cpu_us: float
    lowest_us: float
    highest_us: float
    memory_bytes: float
    failures: int
    retransmissions: int


def summarise(results: Sequence[RoundResult]) -> list[Summary]:
    """One summary per phase and server, phases together, servers in order of appearance."""
    servers = list(dict.fromkeys(result.server for result in results))
    rows = []
    for phase in ("call", "tcp_call", "register"):
        for server in servers:
            mine = [getattr(result, phase) for result in results if result.server == server]
            rows.append(_summary(server, phase, mine))
    return rows


def _summary(server: str, phase: str, results: Sequence[PhaseResult]) -> Summary:
    costs = [result.cpu_us for result in results]
    return Summary(
        server=server,
        phase=phase,
        cpu_us=median(costs),
        lowest_us=min(costs),
        highest_us=max(costs),
        memory_bytes=median(result.memory_bytes for result in results),
        failures=sum(result.failures for result in results),
        retransmissions=sum(result.retransmissions for result in results),
    )


def render(plan: Plan, results: Sequence[RoundResult]) -> str:
    """The whole report in Markdown. Ratios only if no round of any server had a problem."""
    rows = summarise(results)
    problems = [f"{result.server}: {text}" for result in results for text in result.problems]
    parts = [_heading(plan, results), _table(rows)]
    if problems:
        parts.append("No ratio, because rounds went wrong:\n\n" + _bullets(problems))
    else:
        parts.append(_ratios(rows))
    return "\n\n".join(part for part in parts if part) + "\n"


def _heading(plan: Plan, results: Sequence[RoundResult]) -> str:
    rounds = max(sum(result.server == name for result in results) for name in _names(results))
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        f"{when}, {machine()}. {rounds} interleaved rounds; {plan.calls_per_s} calls/s over UDP, "
        f"the same over TCP, and {plan.registers_per_s} REGISTER/s for {plan.seconds} s each, "
        f"{plan.users} users, SIPp from one source address."
    )


def _table(rows: Iterable[Summary]) -> str:
    titles = ["unit", "server", "CPU µs, median", "lowest to highest"]
    titles += ["memory MiB", "failures", "retransmissions"]
    lines = [_line(titles), "|---|---|--:|--:|--:|--:|--:|"]
    lines += [_line(_cells(row)) for row in rows]
    return "\n".join(lines)


def _cells(row: Summary) -> list[str]:
    costs = [f"{row.cpu_us:.0f}", f"{row.lowest_us:.0f} to {row.highest_us:.0f}"]
    counts = [f"{row.memory_bytes / 2**20:.0f}", str(row.failures), str(row.retransmissions)]
    return [row.phase, row.server, *costs, *counts]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ratios(rows: Sequence[Summary]) -> str:
    """sipshard against every other server, phase by phase; empty when one of them is missing."""
    ours = {row.phase: row for row in rows if row.server == "sipshard"}
    lines = [
        f"{row.phase}: sipshard needs {ours[row.phase].cpu_us / row.cpu_us:.2f} of the CPU and "
        f"{ours[row.phase].memory_bytes / row.memory_bytes:.2f} of the memory of {row.server}"
        for row in rows
        if row.server != "sipshard" and row.phase in ours
    ]
    return _bullets(lines)


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)


def _names(results: Iterable[RoundResult]) -> set[str]:
    return {result.server for result in results}


def machine() -> str:
    """The CPUs and the kernel, for the heading of a report."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{os.cpu_count()} CPUs ({model}), {platform.system()} {platform.release()}"
