"""Pairs of phones that call each other, to see that every call ends, however bad the network is.

Usage: ``python -m loadtest.crowd --server HOST:PORT``; ``--help`` lists the options. Of ten calls
one is refused by the callee, one cancelled by the caller, one is a MESSAGE, and seven are answered
and hung up. Prints one JSON object that maps what became of the calls to how many they are:
``completed``, ``refused``, ``cancelled``, ``delivered`` (MESSAGE), ``no-answer`` (the caller has
waited for 64·T1 and more), ``bye-unanswered``, ``lost`` (the connection), and ``failed-STATUS`` for
any other final response. Exit code 1 when a phone cannot register.
"""

from __future__ import annotations

import argparse
import json
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TypeVar, get_args

from loadtest.link import Transport
from loadtest.message import Message
from loadtest.phone import LIFE_IN_T1, Behaviour, NoAnswerError, Phone

Result = TypeVar("Result")

# A caller may have to wait for its own request and then for the callee's.
WAIT_IN_T1 = 2 * LIFE_IN_T1
# A network that loses much may keep a pair from connecting and registering, but not for ever.
ATTEMPTS = 4
ROLES: tuple[tuple[str, Behaviour], ...] = (
    ("caller", "busy"),
    ("willing", "answer"),
    ("busy", "busy"),
    ("slow", "ring"),
)
KINDS = ("refused", "cancelled", "delivered", *["completed"] * 7)
EXPECTED = {"refused": 486, "cancelled": 487, "delivered": 200, "completed": 200}


@dataclass(frozen=True, slots=True)
class Pair:
    """A caller, and its three callees, who differ in what they do."""

    caller: Phone
    willing: Phone
    busy: Phone
    slow: Phone

    def register(self) -> bool:
        """Registers all four, at the same time; whether they are."""
        phones = (self.caller, self.willing, self.busy, self.slow)
        responses = _at_once([phone.register for phone in phones])
        return all(response and response.status == 200 for response in responses)

    def call_in_turn(self, turns: Iterable[int]) -> list[str]:
        """Makes these calls one after the other; how each of them ended."""
        return [self.call(KINDS[turn % len(KINDS)]) for turn in turns]

    def call(self, kind: str) -> str:
        """Makes one call that should end as ``kind``; how it ended."""
        try:
            response = self._place(kind)
        except NoAnswerError:
            return "no-answer"
        except OSError:
            return "lost"
        if response.status != EXPECTED[kind]:
            return f"failed-{response.status}"
        return self._hang_up(response) if kind == "completed" else kind

    def _place(self, kind: str) -> Message:
        if kind == "cancelled":
            return self.caller.invite_and_cancel(self.slow.aor)
        if kind == "refused":
            return self.caller.invite(self.busy.aor)
        if kind == "completed":
            return self.caller.invite(self.willing.aor)
        extra = (("Content-Type", "text/plain"),)
        return self.caller.request("MESSAGE", self.willing.aor, extra=extra, body="hello")

    def _hang_up(self, response: Message) -> str:
        try:
            self.caller.hang_up(response)
        except (NoAnswerError, OSError):
            return "bye-unanswered"
        return "completed"


def main(arguments: Sequence[str] | None = None) -> int:
    """Makes the calls and prints what became of them; the exit code."""
    options = _parser().parse_args(arguments)
    outcomes = _at_once([partial(_live, options, number) for number in range(options.pairs)])
    if None in outcomes:
        print("not every phone could register", file=sys.stderr)
        return 1
    print(json.dumps(Counter(chain.from_iterable(filter(None, outcomes))), sort_keys=True))
    return 0


def _live(options: argparse.Namespace, number: int) -> list[str] | None:
    """What became of one pair's share of the calls; None if it cannot even register."""
    for _ in range(ATTEMPTS):
        with ExitStack() as stack:
            pair = _pair(options, number, stack)
            if pair and pair.register():
                share = len(range(number, options.calls, options.pairs))
                lines = [range(line, share, options.lines) for line in range(options.lines)]
                ends = _at_once([partial(pair.call_in_turn, line) for line in lines])
                return list(chain.from_iterable(filter(None, ends)))
    return None


def _at_once(tasks: Sequence[Callable[[], Result]]) -> list[Result | None]:
    """What each task returned, None for one that had no answer; one thread each."""
    results: list[Result | None] = [None] * len(tasks)

    def run(index: int) -> None:
        try:
            results[index] = tasks[index]()
        except (NoAnswerError, OSError):
            return

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(tasks))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def _pair(options: argparse.Namespace, number: int, stack: ExitStack) -> Pair | None:
    """Four phones, closed by ``stack``; None if one of them cannot connect."""
    host, _, port = options.server.rpartition(":")

    def phone(name: str, behaviour: Behaviour) -> Phone:
        made = Phone(
            user=f"{name}{number}",
            domain=options.domain,
            server=(host, int(port)),
            host=options.host,
            behaviour=behaviour,
            timeout_s=WAIT_IN_T1 * options.t1_ms / 1000,
            transport=options.transport,
            context=ssl.create_default_context(cafile=options.ca) if options.ca else None,
            t1_s=options.t1_ms / 1000,
        )
        return stack.enter_context(made)

    phones = _at_once([partial(phone, name, behaviour) for name, behaviour in ROLES])
    made = [phone for phone in phones if phone]
    return Pair(*made) if len(made) == len(ROLES) else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="loadtest.crowd", description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--server", default="127.0.0.1:5060", help="host:port of the server (127.0.0.1:5060)")
    add("--host", default="127.0.0.1", help="the phones' own address (127.0.0.1)")
    add("--domain", default="127.0.0.1", help="the phones' domain (127.0.0.1)")
    add("--transport", choices=get_args(Transport), default="udp", help="how they connect (udp)")
    add("--ca", type=Path, help="who has signed the server's certificate, for tls")
    add("--calls", type=int, default=1000, help="calls to make (1000)")
    add("--pairs", type=int, default=50, help="pairs that call at the same time (50)")
    add("--lines", type=int, default=4, help="calls that each of them makes at a time (4)")
    add("--t1-ms", type=int, default=500, help="the phones' T1 in milliseconds (500)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
