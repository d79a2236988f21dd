"""SIPp as a phone: one process, and over TCP one connection, for registration and call.

The scenarios are beside this file. SIPp runs them without being told anything in between.
"""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path
from typing import Literal, Self

from loadtest.sipp import HOST, free_udp_port
from tests.integration.phones.part import PATIENCE_S, Part, PhoneError, reserve_tcp_port, wait_for

SCENARIOS = Path(__file__).resolve().parent


class SippPhone:
    """``transport`` is SIPp's own name: one UDP socket, or one TCP connection."""

    def __init__(self, part: Part, transport: Literal["u1", "t1"], folder: Path) -> None:
        self._part = part
        self._transport = transport
        self._folder = folder
        self._port_keeper: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._transport == "t1":
            self._port_keeper = reserve_tcp_port()
            port = self._port_keeper.getsockname()[1]
        else:
            port = free_udp_port()
        self._process = subprocess.Popen(
            self._command(port),
            cwd=self._folder,
            env=os.environ | {"TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        # A caller goes on to its call at once; a callee says when it can be called.
        if self._part.calls is None:
            try:
                wait_for(lambda: "registered" in self._read("log"), self._account)
            except BaseException:
                self.__exit__()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        if self._port_keeper:
            self._port_keeper.close()

    def wait_until_answered(self) -> None:
        """Its script waits; whether it was answered is known when it has ended."""

    def hang_up(self) -> None:
        """Its script does that, 0.1 s after ACK."""

    def wait_until_ended(self) -> None:
        """Returns when the script has run to its end. Raises PhoneError if anything was amiss."""
        assert self._process is not None
        try:
            code = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise PhoneError(self._account()) from None
        if code != 0:
            raise PhoneError(self._account())

    def _command(self, port: int) -> list[str]:
        part = self._part
        command = ["sipp", "-t", self._transport, "-i", HOST, "-p", str(port), "-nostdin"]
        command += ["-m", "1", "-key", "domain", part.domain, "-key", "user", part.user]
        command += ["-trace_err", "-error_file", str(self._folder / "errors")]
        command += ["-trace_msg", "-message_file", str(self._folder / "messages")]
        command += ["-trace_logs", "-log_file", str(self._folder / "log")]
        if part.hangs_up:
            command += ["-set", "hangs_up", "yes"]
        if part.calls is None:
            # To a SIPp that began by registering a call is one out of its scenario.
            command += ["-sf", str(SCENARIOS / "callee.xml")]
            command += ["-oocsf", str(SCENARIOS / "answer.xml")]
        else:
            command += ["-sf", str(SCENARIOS / "caller.xml"), "-key", "peer", part.calls]
        return [*command, f"{part.server[0]}:{part.server[1]}"]

    def _account(self) -> str:
        """What SIPp had to complain about, and the end of what it sent and received."""
        return f"{self._part}\n{self._read('errors')}\n{self._read('messages')[-6000:]}"

    def _read(self, name: str) -> str:
        try:
            return (self._folder / name).read_text(errors="replace")
        except FileNotFoundError:
            return ""
