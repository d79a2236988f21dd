"""The frame of a child process: what it inherits, how it reports, how it ends.

Driving contract, the same for every kind of child (:func:`run_child` does all of it):

1. the supervisor forks and calls :func:`run_child` in the child, with an :class:`Inheritance`;
2. signals are reset, the process is tied to its parent's life and, if it serves a shard, pinned;
3. the child is built from the inheritance and ``boot()`` opens what must be opened after a fork
   (LMDB, event loops, threads); :class:`~sipshard.errors.BootError` or
   :class:`~sipshard.errors.PolicyError` is reported through the pipe and ends the process with
   exit code 3 or 4;
4. ``ready`` is reported;
5. ``serve()`` runs until it returns; the child exits with 0.

Inside ``serve`` a child obeys:

========  =============================================================================
SIGTERM   stop in order: no new work, finish what is open within a bound, return
SIGUSR1   drain to the successor (signalling only): finish own transactions, return
commands  from ``pipe``: :data:`TAKE_OVER` makes a standby child the serving one;
          :data:`CHECK_READERS` tells the janitor that a process has died;
          :data:`READ_CERTIFICATES` tells a worker that their files have changed
========  =============================================================================
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import msgpack

from sipshard import log
from sipshard.config import Configuration
from sipshard.errors import BootError, ExitCode, SipshardError
from sipshard.shm import Region, die_with_parent, pin_to_cpu

READY = "ready"
FAILED = "failed"
HEARTBEAT = "heartbeat"
TAKE_OVER = "take_over"
CHECK_READERS = "check_readers"
READ_CERTIFICATES = "read_certificates"

# A report is a few words; an error message longer than this helps nobody.
REPORT_BYTES = 8192

SIGNALS_OF_A_CHILD = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


@dataclass(frozen=True, slots=True)
class InheritedListener:
    """One listen address with one open socket per shard, all owned by the supervisor.

    ``sockets[i]`` belongs to the worker of shard ``i``; the order is the kernel's order of the
    reuseport group and never changes. ``host`` and ``port`` are what is bound, ``advertised_host``
    and ``advertised_port`` what goes into Via, Record-Route and Contact. IPv6 hosts are written
    without brackets.
    """

    transport: str
    host: str
    port: int
    advertised_host: str
    advertised_port: int
    sockets: tuple[socket.socket, ...]

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.transport}:{host}:{self.port}"


class ChildPipe:
    """The child's end of its pipe to the supervisor.

    A SOCK_SEQPACKET pair, so that one message is one ``send``; messages are msgpack maps. The
    child reports, the supervisor commands. Writing never blocks: a supervisor that is too busy to
    read loses a heartbeat, not a worker.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._connection = connection

    def fileno(self) -> int:
        """The descriptor to watch for commands."""
        return self._connection.fileno()

    def report_ready(self) -> None:
        """Says that the child serves, or in standby could serve."""
        self._report({"event": READY})

    def report_failure(self, exit_code: int, message: str) -> None:
        """Says why the child cannot boot, before it exits with ``exit_code``."""
        self._report({"event": FAILED, "exit_code": exit_code, "message": message[:2000]})

    def heartbeat(self) -> None:
        """Says that the child's loop turns. Only for children without a page in the region."""
        self._report({"event": HEARTBEAT})

    def commands(self) -> list[str]:
        """Takes the commands that have arrived, without waiting."""
        commands = []
        with suppress(BlockingIOError, ConnectionResetError):
            while packet := self._connection.recv(REPORT_BYTES):
                commands.append(str(msgpack.unpackb(packet)["command"]))
        return commands

    def _report(self, message: dict[str, object]) -> None:
        with suppress(BlockingIOError, ConnectionError):
            self._connection.send(msgpack.packb(message))


@dataclass(frozen=True, slots=True)
class Inheritance:
    """Everything a child gets from the supervisor; all of it was opened before the fork.

    ``wakeups[i]`` is the eventfd that wakes shard ``i``. ``shard`` is -1 for a child that serves
    none. ``generation`` counts the children of one role from 1. ``standby`` means: boot and report
    ready, but read no socket before :data:`TAKE_OVER` has come. ``installation_secret`` has 16
    bytes. ``control_socket`` listens already; only the control process accepts from it.
    """

    configuration: Configuration
    installation_secret: bytes
    region: Region
    wakeups: tuple[int, ...]
    listeners: tuple[InheritedListener, ...]
    control_socket: socket.socket
    supervisor_pid: int
    shard: int
    generation: int
    standby: bool
    pipe: ChildPipe


class ChildProcess(ABC):
    """What one kind of child does. Built in the child, after the fork."""

    name: ClassVar[str]

    def __init__(self, inheritance: Inheritance) -> None:
        self.inheritance = inheritance

    @abstractmethod
    def boot(self) -> None:
        """Opens what must be opened after the fork, and installs the signal handlers.

        Raises BootError when that fails, PolicyError when the policy cannot be loaded.
        """

    @abstractmethod
    def serve(self) -> None:
        """Works until told to stop, then leaves everything closed and returns."""


def run_child(child_type: type[ChildProcess], inheritance: Inheritance) -> int:
    """The whole life of a child process, from fork to exit code."""
    try:
        _settle_in(child_type, inheritance)
        child = child_type(inheritance)
        child.boot()
    except SipshardError as error:
        inheritance.pipe.report_failure(error.exit_code, str(error))
        return error.exit_code
    except Exception as error:
        log.logger.exception("%s cannot boot", child_type.name)
        inheritance.pipe.report_failure(BootError.exit_code, f"{type(error).__name__}: {error}")
        return BootError.exit_code
    inheritance.pipe.report_ready()
    try:
        child.serve()
    except Exception:
        log.logger.exception("%s ends after an error that nobody handled", child_type.name)
        return ExitCode.FAILED
    return ExitCode.STOPPED


def _settle_in(child_type: type[ChildProcess], inheritance: Inheritance) -> None:
    """Turns a copy of the supervisor into a process of its own."""
    for number in SIGNALS_OF_A_CHILD:
        signal.signal(number, signal.SIG_DFL)
    # A terminal sends SIGINT to the whole group; the supervisor alone decides the order of the end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS_OF_A_CHILD)
    die_with_parent(signal.SIGKILL)
    if os.getppid() != inheritance.supervisor_pid:
        # The supervisor died between the fork and the line above, so no signal will ever come.
        raise BootError("the supervisor is gone")
    title = child_type.name if inheritance.shard < 0 else f"{child_type.name}:{inheritance.shard}"
    log.name_process(title)
    _name_for_ps(title)
    if inheritance.shard >= 0 and inheritance.configuration.server.pin:
        _pin(inheritance.shard)


def _name_for_ps(title: str) -> None:
    """Shows the role in ``ps -C`` and ``top``; the kernel keeps 15 characters."""
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/comm").write_text(f"ss-{title}"[:15], encoding="ascii")


def _pin(shard: int) -> None:
    """Keeps the worker on one CPU, shards spread round robin over those we may use."""
    try:
        pin_to_cpu(shard)
    except OSError as error:
        log.logger.warning("not pinned to a CPU: %s", error)
