"""The servers under load: how each is started and ended, what it costs and what it counted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from loadtest.sipp import HOST, free_port

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0
PROBE_INTERVAL_S = 0.1


class ServerError(Exception):
    """A server that does not start, does not stop or does not answer."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What all processes of a server have used: CPU since their start, memory now.

    Shared pages are counted once: ``memory_bytes`` sums the proportional set sizes.
    """

    cpu_s: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Counted:
    """What the server itself counted since its start, without retransmissions."""

    invites: int
    registers: int


class Server(ABC):
    """One server process with its children, on a free port of 127.0.0.1.

    As a context manager it is started, waited for, and always ended by its process id. Its log is
    ``<folder>/<name>.log``.
    """

    name: str

    def __init__(self, folder: Path, workers: int) -> None:
        self.folder = folder
        self.workers = workers
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """``host:port`` that it serves on."""
        return f"{HOST}:{self.port}"

    @property
    def log(self) -> Path:
        """Everything the server printed."""
        return self.folder / f"{self.name}.log"

    @abstractmethod
    def command(self) -> list[str]:
        """What is executed; writes the files that it needs."""

    @abstractmethod
    def counted(self) -> Counted:
        """The server's own counters."""

    def is_ready(self) -> bool:
        """Whether it is worth asking; a server that says so itself overrides this."""
        return True

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends the server in order; by force when that takes too long."""
        if self.process is None or self.process.poll() is not None:
            return
        children = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for child in psutil.wait_procs(children, timeout=1.0)[1]:
            child.kill()

    def usage(self) -> Usage:
        """CPU and memory of all processes of the server, as of now."""
        if self.process is None:
            raise ServerError(f"{self.name} was not started")
        parent = psutil.Process(self.process.pid)
        cpu_s = 0.0
        memory_bytes = 0
        for process in (parent, *parent.children(recursive=True)):
            times = process.cpu_times()
            cpu_s += times.user + times.system
            memory_bytes += process.memory_full_info().pss
        return Usage(cpu_s, memory_bytes)

    def _wait_until_it_answers(self) -> None:
        """Sends OPTIONS to the server itself until it is answered, with whatever status."""
        deadline = time.monotonic() + START_TIMEOUT_S
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((HOST, 0))
            probe.settimeout(PROBE_INTERVAL_S)
            while time.monotonic() < deadline:
                if self.process is None or self.process.poll() is not None:
                    break
                if self.is_ready() and _is_answered(probe, self.port):
                    return
        raise ServerError(f"{self.name} does not serve:\n{self.log.read_text()[-2000:]}")


def _is_answered(probe: socket.socket, port: int) -> bool:
    host, local_port = probe.getsockname()
    lines = [
        f"OPTIONS sip:{HOST}:{port} SIP/2.0",
        f"Via: SIP/2.0/UDP {host}:{local_port};branch=z9hG4bKprobe{time.monotonic_ns()};rport",
        "Max-Forwards: 70",
        f"From: <sip:probe@{HOST}>;tag=probe",
        f"To: <sip:{HOST}:{port}>",
        f"Call-ID: probe-{time.monotonic_ns()}@{HOST}",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    ]
    try:
        probe.sendto("\r\n".join([*lines, "", ""]).encode(), (HOST, port))
        return probe.recv(65535).startswith(b"SIP/2.0 ")
    except (TimeoutError, ConnectionRefusedError):
        return False


class Kamailio(Server):
    """Kamailio as ``kamailio.cfg`` beside this file says, with the fast allocator."""

    name = "kamailio"

    def command(self) -> list[str]:
        configuration = Path(__file__).resolve().parent / "kamailio.cfg"
        listeners = ["-l", f"udp:{self.address}", "-l", f"tcp:{self.address}"]
        workers = ["-n", str(self.workers), "-N", str(self.workers)]
        arguments = ["-f", str(configuration), *listeners, *workers]
        allocator = ["-x", "fm", "-X", "fm", "-m", "1024", "-M", "64"]
        folders = ["-w", str(self.folder.resolve()), "-Y", str(self.folder.resolve())]
        return ["kamailio", *arguments, *allocator, *folders, "-DD", "-E"]

    def counted(self) -> Counted:
        socket_path = f"unix:{self.folder.resolve()}/kamailio_ctl"
        answer = _output(["kamcmd", "-s", socket_path, "stats.fetch", "all"])
        counters: dict[str, int] = {}
        for line in answer.splitlines():
            name, _, value = line.strip().partition(": ")
            if value.isdigit():
                counters[name] = int(value)
        # There is no counter without retransmissions; those are compared through the generator's.
        return Counted(
            invites=counters["core.rcv_requests_invite"],
            registers=counters["core.rcv_requests_register"],
        )


class Sipshard(Server):
    """This project's server, from the environment that runs the load test."""

    name = "sipshard"
    settings = """\
[server]
listen = ["udp:{address}", "tcp:{address}"]
workers = {workers}
runtime_dir = "run"
domains = ["127.0.0.1"]

[location]
path = "location"
durability = "process"

[log]
level = "warning"
"""

    @property
    def configuration(self) -> Path:
        """The configuration file it runs with."""
        return self.folder / "sipshard.toml"

    def command(self) -> list[str]:
        text = self.settings.format(address=self.address, workers=self.workers)
        self.configuration.write_text(text, encoding="utf-8")
        return [sipshard_command(), "run", "-c", str(self.configuration)]

    def is_ready(self) -> bool:
        """Whether all of its processes have reported; the first of them answers earlier."""
        if b"ready" in self.log.read_bytes().splitlines():
            return True
        time.sleep(0.01)
        return False

    def status(self) -> dict[str, Any]:
        """What ``sipshard status --json`` prints."""
        arguments = ["status", "--json", "-c", str(self.configuration)]
        answer: dict[str, Any] = json.loads(_output([sipshard_command(), *arguments]))
        return answer

    def counted(self) -> Counted:
        counters = self.status()["counters"]
        return Counted(invites=counters["invites"], registers=counters["registers"])


def sipshard_command() -> str:
    """The ``sipshard`` beside the running interpreter."""
    return str(Path(sys.executable).parent / "sipshard")


def _output(command: list[str]) -> str:
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=20, env=environment, check=False
    )
    if done.returncode != 0:
        raise ServerError(f"{command[0]} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout
