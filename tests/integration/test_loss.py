"""A thousand calls over a network that loses and reorders: every one ends, and nothing is left.

Server and phones are hosts of their own (:mod:`tests.integration.bad_network`). T1 is 100 ms on
both sides: the round trip takes about 10 ms, and RFC 3261 §17.1.1.1 lets closed networks use a
smaller T1 than 500 ms. All other timers keep their proportions to it, so what is seen is what
happens with the default values, five times as fast.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from loadtest.link import Transport
from tests.integration.bad_network import PHONES_HOST, SERVER_HOST, BadNetwork, Weather
from tests.integration.installation import Installation

CALLS = 1_000
T1_MS = 100
# Nobody rings for long here, so that Timer C may be short: it is what ends a call whose caller is
# gone before its CANCEL came through.
TIMER_C_S = 15.0
TIMERS = {"t1_ms": T1_MS, "t2_ms": 8 * T1_MS, "t4_ms": 10 * T1_MS, "timer_c_s": TIMER_C_S}
# What is left when the phones have finished: Timer C, then a transaction that waits 64*T1 for the
# end of what it has cancelled (Timers B and F) and another 64*T1 for what may still be on its way
# (Timers D, L and M), and scheduling.
LEFT_S = TIMER_C_S + 2 * 64 * T1_MS / 1000 + 2.0
PHONES_S = 120.0
GOOD = ("completed", "refused", "cancelled", "delivered")
# The other final states of a call that a bad network may bring about.
BAD = re.compile("no-answer|bye-unanswered|lost|failed-[456][0-9][0-9]")

# Whoever is no root can make no network namespaces; CI and the developers' machines are.
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes network namespaces")


class FarAway(Installation):
    """A server in the server's namespace, which this process cannot reach but by its files."""

    def __init__(self, folder: Path, transport: Transport, namespace: str) -> None:
        super().__init__(folder)
        listen = [f"{transport}:{SERVER_HOST}:{self.port}"]
        self.tables = {"server": {"listen": listen}, "transaction": TIMERS}
        self._namespace = namespace

    @property
    def address(self) -> str:
        return f"{SERVER_HOST}:{self.port}"

    def command(self) -> list[str]:
        return ["ip", "netns", "exec", self._namespace, *super().command()]

    def _wait_until_it_answers(self) -> None:
        self.wait_for("the server says that it is ready", self.is_ready)


@pytest.mark.parametrize("loss", [0.05, 0.20], ids=["5 percent", "20 percent"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_every_call_ends(
    tmp_path: Path, cleanup: ExitStack, transport: Transport, loss: float
) -> None:
    network = cleanup.enter_context(BadNetwork(f"sst{os.getpid()}", Weather(loss), seed=1))
    server = FarAway(tmp_path / "server", transport, network.server_namespace)
    cleanup.enter_context(server)
    outcomes = _let_them_call(network, server, transport)
    ended = time.monotonic()
    assert sum(outcomes.values()) == CALLS, outcomes
    assert all(BAD.fullmatch(end) for end in outcomes.keys() - set(GOOD)), outcomes
    _expect_success(outcomes, loss)
    server.wait_for("no transaction is left", lambda: _left(server) == 0, LEFT_S)
    assert time.monotonic() - ended <= LEFT_S
    assert [worker["generation"] for worker in server.workers_now()] == [1, 1]
    assert "Traceback" not in server.log.read_text()
    assert network.lost > 0.8 * loss * network.carried
    assert network.overtaken > 0 and network.doubled > 0
    if transport == "udp":
        assert sum(server.counter("request_retransmissions")) > 0


def _let_them_call(network: BadNetwork, server: Installation, transport: str) -> dict[str, int]:
    command = ["ip", "netns", "exec", network.phones_namespace]
    command += [sys.executable, "-m", "loadtest.crowd", "--server", server.address]
    command += ["--host", PHONES_HOST, "--transport", transport, "--t1-ms", str(T1_MS)]
    command += ["--calls", str(CALLS)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=PHONES_S, check=False, cwd=Path.cwd()
    )
    assert done.returncode == 0, f"{done.stderr[-2000:]}\n{server.tail()}"
    outcomes: dict[str, int] = json.loads(done.stdout)
    return outcomes


def _expect_success(outcomes: dict[str, int], loss: float) -> None:
    """Retransmission carries nearly all calls, even where a third of all exchanges fail."""
    good = sum(outcomes.get(end, 0) for end in GOOD)
    assert good >= CALLS * (0.99 if loss < 0.1 else 0.95), outcomes


def _left(server: Installation) -> int:
    return sum(worker["transactions"] for worker in server.workers_now())
