"""One SIPp process: how it is started, how it ends, and what its own statistics say.

SIPp is the generator of all load tests. It needs a terminal type but must not read standard input,
and it reports through a CSV file of one line per second, of which the last one holds the totals.
"""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Transport = Literal["udp", "tcp"]
# One socket for all calls; over TCP that is what a trunk looks like.
_SIPP_TRANSPORTS: Mapping[Transport, str] = {"udp": "u1", "tcp": "t1"}

SCENARIOS = Path(__file__).resolve().parent / "scenarios"
HOST = "127.0.0.1"
# How long SIPp gets to finish its open calls after it was asked to quit.
QUIT_TIMEOUT_S = 10.0


class SippError(Exception):
    """SIPp did not run as it should have: it hung, or left no statistics."""


@dataclass(frozen=True, slots=True)
class SippResult:
    """The totals of one SIPp process, both as caller and as callee.

    ``created`` counts calls begun, ``late_messages`` those for calls that had ended. ``elapsed_s``
    is the time until the last call was begun, to the second of SIPp's statistics. ``errors`` is
    the head of its error log, empty if there was none.
    """

    created: int
    succeeded: int
    failed: int
    retransmissions: int
    late_messages: int
    elapsed_s: float
    errors: str

    @property
    def is_clean(self) -> bool:
        """Whether every call that was begun succeeded."""
        return self.created > 0 and self.succeeded == self.created and self.failed == 0

    @property
    def rate_per_s(self) -> float:
        """Calls per second that were really made."""
        return self.created / self.elapsed_s if self.elapsed_s else 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """How many calls a caller makes, how fast, and for which users (a file of SIPp's format)."""

    calls: int
    rate_per_s: int
    users: Path

    @property
    def nominal_s(self) -> float:
        """How long the load takes when nothing is slow."""
        return self.calls / self.rate_per_s


@dataclass(slots=True)
class Sipp:
    """One SIPp process. As a context manager it never outlives its block.

    ``port`` is the local port on 127.0.0.1, of ``transport``; ``folder`` gets its files, so two
    processes of one scenario need two folders. ``remote`` (``host:port``) is set for callers only,
    and so is ``load``; a callee runs until :meth:`quit`. ``keys`` are the scenario's keywords. A
    caller over TCP makes all its calls through one connection.
    """

    scenario: str
    port: int
    folder: Path
    remote: str | None = None
    load: Load | None = None
    keys: Mapping[str, str] = field(default_factory=dict)
    transport: Transport = "udp"
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def __enter__(self) -> Sipp:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def start(self) -> None:
        """Starts the process; a callee has bound its port when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"{self.scenario}.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=os.environ | {"TERM": "xterm"},
            )
        if self.remote is None:
            _wait_until_bound(self.port, self.transport, self._process)

    def wait(self, extra_s: float = 40.0) -> SippResult:
        """Waits until all calls are done. ``extra_s`` is allowed beyond the nominal time.

        The default covers an INVITE that is given up after Timer B (RFC 3261 §17.1.1.2).
        """
        process = self._running()
        try:
            process.wait((self.load.nominal_s if self.load else 0.0) + extra_s)
        except subprocess.TimeoutExpired:
            self.quit()
            raise SippError(f"{self.scenario} did not finish, see {self.folder}") from None
        return self.result()

    def quit(self) -> SippResult:
        """Asks the process to finish its open calls and to end, then ends it."""
        process = self._running()
        if process.poll() is None:
            process.send_signal(signal.SIGUSR1)
            try:
                process.wait(QUIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return self.result()

    def result(self) -> SippResult:
        """The totals so far, as of the last whole second while it runs."""
        try:
            with self._statistics.open(encoding="utf-8", newline="") as file:
                rows = [row for row in csv.DictReader(file, delimiter=";") if row["FailedCall(C)"]]
            last = rows[-1]
            begun = next(row for row in rows if row["TotalCallCreated"] == last["TotalCallCreated"])
        except (OSError, IndexError) as error:
            raise SippError(f"{self.scenario} left no statistics, see {self.folder}") from error
        return SippResult(
            created=int(last["TotalCallCreated"]),
            succeeded=int(last["SuccessfulCall(C)"]),
            failed=int(last["FailedCall(C)"]),
            retransmissions=int(last["Retransmissions(C)"]),
            late_messages=int(last["DeadCallMsgs(C)"]),
            elapsed_s=_epoch_s(begun["CurrentTime"]) - _epoch_s(begun["StartTime"]),
            errors=self._head_of_errors(),
        )

    @property
    def _statistics(self) -> Path:
        return self.folder / f"{self.scenario}.csv"

    def _head_of_errors(self) -> str:
        try:
            return (self.folder / f"{self.scenario}.errors").read_text(errors="replace")[:2000]
        except OSError:
            return ""

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise SippError(f"{self.scenario} was not started")
        return self._process

    def _command(self) -> list[str]:
        command = ["sipp", "-sf", str(SCENARIOS / f"{self.scenario}.xml")]
        command += ["-i", HOST, "-p", str(self.port), "-nostdin"]
        command += ["-t", _SIPP_TRANSPORTS[self.transport]]
        command += ["-trace_stat", "-stf", str(self._statistics), "-fd", "1"]
        command += ["-trace_err", "-error_file", str(self.folder / f"{self.scenario}.errors")]
        # The socket buffers must hold what arrives while the generator is not scheduled.
        command += ["-buff_size", str(4 << 20)]
        for name, value in self.keys.items():
            command += ["-key", name, value]
        if self.load:
            command += ["-m", str(self.load.calls), "-r", str(self.load.rate_per_s)]
            command += ["-inf", str(self.load.users), "-l", str(self.load.rate_per_s * 40)]
        if self.remote:
            command.append(self.remote)
        return command


def write_users(path: Path, number: int, prefix: str = "u") -> Path:
    """Writes an injection file of the users ``u000000`` upwards; returns ``path``."""
    lines = ["SEQUENTIAL", *(f"{prefix}{index:06d};" for index in range(number))]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")
    return path


def free_udp_port(host: str = HOST) -> int:
    """A UDP port that nobody has bound. It is free, not reserved: use it soon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
    return port


def free_port(host: str = HOST) -> int:
    """A port that nobody has bound, neither for UDP nor for TCP. It is free, not reserved."""
    while True:
        port = free_udp_port(host)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        return port


def _epoch_s(cell: str) -> float:
    """SIPp writes a time as date, time and seconds since the epoch, with tabs between."""
    return float(cell.split("\t")[-1].split()[-1])


def _wait_until_bound(port: int, transport: Transport, process: subprocess.Popen[bytes]) -> None:
    """Waits until the kernel lists ``port`` as bound."""
    pattern = f":{port:04X} "
    for _ in range(100):
        if pattern in Path(f"/proc/net/{transport}").read_text(encoding="ascii"):
            return
        try:
            process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        break
    raise SippError(f"SIPp did not bind port {port}")
