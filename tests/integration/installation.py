"""A server of its own for a test: configuration, processes, counters, log."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil

from loadtest.server import Sipshard, sipshard_command
from loadtest.sipp import Load, Sipp, SippResult, free_udp_port, write_users

HOST = "127.0.0.1"
Tables = Mapping[str, Mapping[str, object]]


class Installation(Sipshard):
    """One server on a free port, below its own folder. ``tables`` are laid over the defaults."""

    def __init__(self, folder: Path, tables: Tables | None = None, workers: int = 2) -> None:
        super().__init__(folder, workers)
        self.tables = tables or {}

    def write_configuration(self) -> Path:
        """Writes the configuration file; returns its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tables: dict[str, dict[str, object]] = {
            "server": {
                "listen": [f"udp:{self.address}"],
                "workers": self.workers,
                "runtime_dir": "run",
                "domains": [HOST, "example.com"],
            },
            "location": {"path": "location", "durability": "process"},
            "watchdog": {"interval_s": 0.1},
            "log": {"level": "info"},
        }
        for name, table in self.tables.items():
            tables.setdefault(name, {}).update(table)
        self.configuration.write_text(_toml(tables), encoding="utf-8")
        return self.configuration

    def command(self) -> list[str]:
        return [sipshard_command(), "run", "-c", str(self.write_configuration())]

    def run_to_its_end(self, timeout_s: float = 20.0) -> subprocess.CompletedProcess[str]:
        """Runs a server that is expected not to start; the finished process."""
        return subprocess.run(
            self.command(), capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def ask(self, *arguments: str) -> Any:
        """What ``sipshard <arguments> --json`` prints."""
        command = [sipshard_command(), *arguments, "--json", "-c", str(self.configuration)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
        return json.loads(done.stdout)

    def status(self) -> dict[str, Any]:
        """The answer of the control socket; quicker than starting the command for it."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(5.0)
            connection.connect(str(self.folder / "run" / "control.sock"))
            connection.sendall(b'{"verb": "status"}\n')
            with connection.makefile("rb") as answers:
                answer: dict[str, Any] = json.loads(answers.readline())
        return answer

    def workers_now(self) -> list[dict[str, Any]]:
        """The workers of the status, in the order of their shards."""
        workers: list[dict[str, Any]] = self.status()["workers"]
        return workers

    def counter(self, name: str) -> list[int]:
        """One counter of every shard."""
        return [worker["counters"][name] for worker in self.workers_now()]

    def kill_worker(self, shard: int) -> int:
        """Ends a worker as if it had crashed; the process id it had."""
        pid: int = self.workers_now()[shard]["pid"]
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_for(self, what: str, condition: Callable[[], bool], timeout_s: float = 15.0) -> None:
        """Waits until ``condition`` holds. Raises AssertionError with ``what`` when it does not."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}\n{self.tail()}"
            time.sleep(0.05)

    def tail(self) -> str:
        """The end of the server's output."""
        return self.log.read_text(errors="replace")[-4000:]

    def descendants(self) -> list[psutil.Process]:
        """Every process below the supervisor."""
        assert self.process is not None
        return psutil.Process(self.process.pid).children(recursive=True)

    def socket_drops(self) -> int:
        """Datagrams that the kernel has dropped at the sockets of our port."""
        lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
        fields = [line.split() for line in lines]
        return sum(int(row[-1]) for row in fields if row[1].endswith(f":{self.port:04X}"))

    def register_users(self, number: int, callee: Sipp) -> Path:
        """Registers users at a SIPp callee; the file that a caller needs."""
        users = write_users(self.folder / "users.csv", number)
        result = self.load("register", Load(number, 500, users), f"{HOST}:{callee.port}")
        assert result.is_clean, result
        return users

    def load(self, scenario: str, load: Load, contact: str = "") -> SippResult:
        """Runs a caller's scenario to its end."""
        with self.start_load(scenario, load, contact) as sipp:
            return sipp.wait()

    def start_load(self, scenario: str, load: Load, contact: str = "") -> Sipp:
        """A caller's scenario, to be used as a context manager."""
        keys = {"domain": HOST, "contact": contact}
        folder = self.folder / f"{scenario}-{time.monotonic_ns()}"
        return Sipp(scenario, free_udp_port(), folder, self.address, load, keys)


def _toml(tables: Tables) -> str:
    lines = []
    for name, table in tables.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml_value(value)}" for key, value in table.items()]
    return "\n".join(lines) + "\n"


def _toml_value(value: object) -> str:
    match value:
        case Mapping():
            return f"{{ {', '.join(f'{key} = {_toml_value(of)}' for key, of in value.items())} }}"
        case list():
            return f"[{', '.join(map(_toml_value, value))}]"
        case _:
            # For texts, numbers and booleans JSON is TOML.
            return json.dumps(value)
