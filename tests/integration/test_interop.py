"""Phones that are not ours, over every transport, register and call each other through the server.

SIPp over UDP and TCP, baresip over TLS, JsSIP in Chromium over WebSocket with and without TLS: each
one calls each one, and each side hangs up once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest
import trustme

from tests.integration.installation import HOST, Installation
from tests.integration.phones.baresip_phone import BaresipPhone
from tests.integration.phones.browser_phone import Browser, BrowserPhone
from tests.integration.phones.part import Part, Phone
from tests.integration.phones.sipp_phone import SippPhone

Kind = Literal["sipp-udp", "sipp-tcp", "baresip-tls", "jssip-ws", "jssip-wss"]
KINDS: tuple[Kind, ...] = ("sipp-udp", "sipp-tcp", "baresip-tls", "jssip-ws", "jssip-wss")
# What a correct peer never makes the server count.
FAULTS = (
    "framing_errors",
    "malformed_requests",
    "malformed_responses",
    "unanswerable_requests",
    "policy_errors",
    "decision_timeouts",
    "branch_timeouts",
    "unreachable_targets",
    "branches_unsent",
    "send_errors",
    "flows_lost",
    "tls_failures",
    "connect_failures",
    "slow_peers",
    "stray_acks",
    "stray_responses",
    "acks_missing",
    "loops_detected",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What all calls share: the server with its certificate's authority, and the browser."""

    server: Installation
    authority: Path
    browser: Browser
    folder: Path

    def phone(self, kind: Kind, part: Part) -> Phone:
        """A phone for one part in one call."""
        folder = self.folder / part.user
        match kind:
            case "sipp-udp":
                return SippPhone(part, "u1", folder)
            case "sipp-tcp":
                return SippPhone(part, "t1", folder)
            case "baresip-tls":
                return BaresipPhone(part, self.authority, folder)
            case "jssip-ws" | "jssip-wss":
                page = "caller" if part.calls else "callee"
                return BrowserPhone(part, kind.removeprefix("jssip-"), self.browser, page)

    def listener(self, kind: Kind) -> tuple[str, int]:
        """Where the server listens for that kind of phone."""
        transport = kind.partition("-")[2]
        listening: list[str] = self.server.status()["listen"]
        host, _, port = next(
            address.removeprefix(f"{transport}:").rpartition(":")
            for address in listening
            if address.startswith(f"{transport}:")
        )
        return host, int(port)

    def count(self, name: str) -> int:
        """One counter, of all workers."""
        return sum(self.server.counter(name))

    def faults(self) -> dict[str, int]:
        """The counters of ``FAULTS``."""
        return {name: self.count(name) for name in FAULTS}


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    folder = tmp_path_factory.mktemp("interop")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    authority.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    server = Installation(folder / "server")
    pem = str(folder / "server.pem")
    streams = [f"{transport}:{HOST}:0" for transport in ("tcp", "tls", "ws", "wss")]
    server.tables = {
        "server": {"listen": [f"udp:{server.address}", *streams]},
        "tls": {"certificates": [{"certificate": pem, "key": pem}]},
    }
    with server, Browser(folder / "browser.log") as browser:
        yield Exchange(server, folder / "authority.pem", browser, folder)


@pytest.mark.parametrize("hangs_up", ["caller", "callee"])
@pytest.mark.parametrize("callee", KINDS)
@pytest.mark.parametrize("caller", KINDS)
def test_each_calls_each(exchange: Exchange, caller: Kind, callee: Kind, hangs_up: str) -> None:
    call = f"{caller}-{callee}-{hangs_up}"
    answers = Part(f"to-{call}", HOST, exchange.listener(callee), None, hangs_up == "callee")
    calls = Part(
        f"from-{call}", HOST, exchange.listener(caller), answers.user, hangs_up == "caller"
    )
    in_dialog = exchange.count("in_dialog_requests")
    faults = exchange.faults()
    with exchange.phone(callee, answers) as bob, exchange.phone(caller, calls) as alice:
        bob.wait_until_answered()
        alice.wait_until_answered()
        (alice if hangs_up == "caller" else bob).hang_up()
        alice.wait_until_ended()
        bob.wait_until_ended()
    # ACK and BYE, by the Record-Route; and another ACK, when the first was slower than T1.
    assert exchange.count("in_dialog_requests") >= in_dialog + 2
    exchange.server.wait_for("all transactions have ended", lambda: _unfinished(exchange) == 0)
    assert exchange.faults() == faults


def _unfinished(exchange: Exchange) -> int:
    return sum(worker["unfinished"] for worker in exchange.server.workers_now())
