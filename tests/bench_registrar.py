"""CPU µs of the Python side per REGISTER and per INVITE, with a fake engine and a real table.

Run by hand: ``python -m tests.bench_registrar [group size] [rounds]``. It hands groups of requests
to the execution as the loop would, waits until they are answered, and divides the CPU time of the
process (the committing thread included) by their number. The engine's own work is not in it.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sipshard.policy import builtin
from sipshard.policy.served import ServedDomains
from sipshard.proxy.execution import Execution
from sipshard.registrar.location import LocationService
from sipshard.registrar.registrar import Registrar
from sipshard.registrar.rules import Limits
from sipshard.testing import request
from tests.unit import fakes

USERS = 20_000


class CountingEngine(fakes.FakeEngine):
    """Only counts, so that the fake costs little."""

    def __init__(self) -> None:
        super().__init__()
        self.done = 0
        self.unexpected = 0

    def respond(self, transaction_id, status, reason, headers, body):  # type: ignore[no-untyped-def]
        self.done += 1
        self.unexpected += status != 200
        return True

    def forward(self, *arguments):  # type: ignore[no-untyped-def]
        self.done += 1
        return True


class Bench:
    """One worker without sockets; it is its own loop, which commits each group it is given."""

    def __init__(self, folder: Path) -> None:
        self.engine = CountingEngine()
        self.location = LocationService(folder, durability="process")
        self.announcements: list[Callable[[], object]] = []
        self.woken = threading.Semaphore(0)
        self.calls: list[Callable[[], object]] = []
        self.registrar = Registrar(self.engine, self.location, Limits(), self, window_s=0.0)
        self.registrar.start()
        services = {
            "location": self.location,
            "server": ServedDomains(["example.com"], [("127.0.0.1", 5060)]),
        }
        loop = asyncio.new_event_loop()
        self.execution = Execution(self.engine, self.registrar, builtin.router, services, loop)

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        self.announcements.append(callback)

    def call_soon_threadsafe(self, callback: Callable[..., object], *arguments: object) -> None:
        self.calls.append(partial(callback, *arguments))
        self.woken.release()

    def run(self, groups: list[list[tuple[str, int, object, None]]]) -> float:
        """CPU µs per event."""
        started = time.process_time()
        total = 0
        for group in groups:
            total += len(group)
            self.execution.handle(group)  # type: ignore[arg-type]  # fakes of requests
            while self.announcements:
                self.announcements.pop()()
            while self.engine.done < total:
                self.woken.acquire()
                self.calls.pop()()
        elapsed = time.process_time() - started
        self.engine.done = 0
        return elapsed / total * 1e6


def registers(cseq: int) -> list[object]:
    """One REGISTER per user."""
    return [
        request(
            "REGISTER",
            "sip:example.com",
            from_uri=f"sip:user{number}@example.com",
            headers=[
                ("Call-ID", f"{number}-registration@192.0.2.1"),
                ("CSeq", f"{cseq} REGISTER"),
                ("Contact", f"<sip:user{number}@192.0.2.1:5060;transport=udp>"),
                ("Expires", "3600"),
                ("User-Agent", "bench"),
            ],
        )
        for number in range(USERS)
    ]


def grouped(requests: list[object], size: int) -> list[list[tuple[str, int, object, None]]]:
    events = [("request", number, each, None) for number, each in enumerate(requests)]
    return [events[start : start + size] for start in range(0, len(events), size)]


def main(size: int = 10, rounds: int = 3) -> None:
    """Prints one line per kind of request and round."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        print(f"first REGISTER  {bench.run(grouped(registers(1), size)):6.2f} µs")
        invites: list[object] = [
            request("INVITE", f"sip:user{number}@example.com") for number in range(USERS)
        ]
        for number in range(rounds):
            print(f"REGISTER        {bench.run(grouped(registers(number + 2), size)):6.2f} µs")
            print(f"INVITE          {bench.run(grouped(invites, size)):6.2f} µs")
        print(f"unexpected answers: {bench.engine.unexpected}")
        bench.registrar.stop()
        bench.location.close()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
