"""Compares sipshard with Kamailio: same machine, same minutes, same generator, same calls.

Usage: ``python -m loadtest.compare`` or ``make bench``; ``--help`` lists the options. The two
servers take turns, because machines drift by more than the difference one wants to see. The
generator is tried first without any server. No ratio is printed when a single call failed or when
a server's own count is not the generator's. Exit code 1 in these cases.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtest.report import render
from loadtest.round import Plan, RoundResult, check_generator, run_round
from loadtest.server import Kamailio, Server, ServerError, Sipshard
from loadtest.sipp import SippError

SERVERS: dict[str, type[Server]] = {"sipshard": Sipshard, "kamailio": Kamailio}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the comparison and prints the report; the exit code."""
    options = _parser().parse_args(arguments)
    plan = Plan(options.seconds, options.call_rate, options.register_rate, options.users)
    folder = Path(tempfile.mkdtemp(prefix="sipshard-bench-"))
    _say(f"logs and statistics: {folder}")
    try:
        trouble = _generator_trouble(plan, folder / "generator")
        if trouble:
            _say(f"the generator is the bottleneck, nothing was measured: {trouble}")
            return 1
        results = _run_rounds(options, plan, folder)
    except (ServerError, SippError) as error:
        _say(str(error))
        return 1
    print(render(plan, results))
    return 1 if any(result.problems for result in results) else 0


def _run_rounds(options: argparse.Namespace, plan: Plan, folder: Path) -> list[RoundResult]:
    results = []
    for number in range(1, options.rounds + 1):
        # The order alternates, so that being first is nobody's advantage.
        names = options.servers if number % 2 else options.servers[::-1]
        for name in names:
            server = SERVERS[name](folder / f"{number}-{name}", options.workers)
            result = run_round(server, plan)
            results.append(result)
            _say(_progress(number, result))
    return results


def _generator_trouble(plan: Plan, folder: Path) -> str:
    """What shows that SIPp cannot make the calls of the plan; empty when it can."""
    result = check_generator(plan, folder)
    if not result.is_clean:
        return f"{result.failed} of {result.created} calls failed without a server"
    planned_per_s = plan.calls_per_s * 3 // 2
    if result.rate_per_s < 0.95 * planned_per_s:
        return f"{result.rate_per_s:.0f} calls/s made of {planned_per_s}/s"
    if result.retransmissions > result.created // 100:
        return f"{result.retransmissions} retransmissions without a server"
    _say(f"generator: {result.created} calls at {result.rate_per_s:.0f}/s without a server, clean")
    return ""


def _progress(number: int, result: RoundResult) -> str:
    text = (
        f"round {number}, {result.server}: {result.call.cpu_us:.0f} µs per call, "
        f"{result.tcp_call.cpu_us:.0f} µs per call over TCP, "
        f"{result.register.cpu_us:.0f} µs per REGISTER"
    )
    return f"{text}; {'; '.join(result.problems)}" if result.problems else text


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtest.compare", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="rounds per server (5)")
    add("--seconds", type=int, default=15, help="length of each phase (15)")
    add("--call-rate", type=int, default=1000, help="calls per second (1000)")
    add("--register-rate", type=int, default=3000, help="REGISTER per second (3000)")
    add("--users", type=int, default=10_000, help="users registered (10000)")
    add("--workers", type=int, default=2, help="workers of each server (2)")
    add("--servers", nargs="+", choices=SERVERS, default=list(SERVERS), help="who takes part")
    return parser


if __name__ == "__main__":
    sys.exit(main())
