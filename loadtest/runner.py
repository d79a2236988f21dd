"""Runs one SIPp scenario against a server that is already running.

Usage: ``python -m loadtest.runner register|call|cancel --server 127.0.0.1:5060``. The callee runs
here, too: its users are registered at it first, so nothing else is needed. Exit code 1 when a call
failed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from loadtest.sipp import HOST, Load, Sipp, SippError, SippResult, free_udp_port, write_users

ENROL_PER_S = 500


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the scenario and prints what came of it; the exit code."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sipshard-load-"))
    users = write_users(folder / "users.csv", options.users)
    load = Load(options.calls, options.rate, users)
    try:
        if options.scenario == "register":
            result = _register(options, load, f"{HOST}:{free_udp_port()}", folder)
        else:
            result = _call(options, load, folder)
    except SippError as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"{result.created} begun at {result.rate_per_s:.0f}/s, {result.succeeded} succeeded, "
        f"{result.failed} failed, {result.retransmissions} retransmissions"
    )
    if result.errors:
        print(f"{result.errors}\nmore in {folder}", file=sys.stderr)
    return 0 if result.is_clean else 1


def _register(options: argparse.Namespace, load: Load, contact: str, folder: Path) -> SippResult:
    keys = {"domain": options.domain, "contact": contact}
    with Sipp("register", free_udp_port(), folder, options.server, load, keys) as sipp:
        return sipp.wait()


def _call(options: argparse.Namespace, load: Load, folder: Path) -> SippResult:
    callee = Sipp(f"{options.scenario}_uas", free_udp_port(), folder / "callee")
    keys = {"domain": options.domain}
    with callee:
        enrolment = Load(options.users, ENROL_PER_S, load.users)
        contact = f"{HOST}:{callee.port}"
        enrolled = _register(options, enrolment, contact, folder / "enrol")
        if not enrolled.is_clean:
            raise SippError(f"{enrolled.failed} of {enrolled.created} users cannot register")
        name = f"{options.scenario}_uac"
        with Sipp(name, free_udp_port(), folder / "caller", options.server, load, keys) as sipp:
            return sipp.wait()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtest.runner", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("scenario", choices=("register", "call", "cancel"))
    add("--server", default=f"{HOST}:5060", help=f"host:port of the server ({HOST}:5060)")
    add("--domain", default=HOST, help=f"the users' domain ({HOST})")
    add("--calls", type=int, default=1000, help="calls or registrations to make (1000)")
    add("--rate", type=int, default=100, help="how many of them per second (100)")
    add("--users", type=int, default=100, help="users that are registered and called (100)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
