"""From a checked configuration to a running server: opens everything, then runs the arbiter."""

from __future__ import annotations

import gc
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from sipshard import log
from sipshard.config import Configuration
from sipshard.errors import BootError
from sipshard.log import logger
from sipshard.shm import Region, create_region
from sipshard.sip import attach_steering, raise_descriptor_limit
from sipshard.supervisor.arbiter import Arbiter, Surroundings
from sipshard.supervisor.child import Role
from sipshard.supervisor.forking import ForkedProcesses
from sipshard.supervisor.listeners import open_listener
from sipshard.supervisor.locks import lock_directory, pid_file
from sipshard.supervisor.secret import installation_secret
from sipshard.supervisor.steering import steer
from sipshard.supervisor.watchdog import PsutilSampler, Watchdog
from sipshard.workers.base import ChildPipe, ChildProcess, Inheritance, InheritedListener
from sipshard.workers.control import ControlProcess
from sipshard.workers.janitor import Janitor
from sipshard.workers.signalling import SignallingWorker

# Imported here and not in the child: what a child need not import it need not wait for.
CHILD_TYPES: dict[str, type[ChildProcess]] = {
    "signalling": SignallingWorker,
    "control": ControlProcess,
    "janitor": Janitor,
}

CONTROL_SOCKET = "control.sock"
_CONTROL_BACKLOG = 16


@dataclass(frozen=True, slots=True)
class Estate:
    """Everything the supervisor owns and its children inherit."""

    configuration: Configuration
    installation_secret: bytes
    region: Region
    wakeups: tuple[int, ...]
    listeners: tuple[InheritedListener, ...]
    control_socket: socket.socket
    supervisor_pid: int

    def bequeath(self, role: Role, generation: int, standby: bool, pipe: ChildPipe) -> Inheritance:
        """What one child gets of it."""
        return Inheritance(
            configuration=self.configuration,
            installation_secret=self.installation_secret,
            region=self.region,
            wakeups=self.wakeups,
            listeners=self.listeners,
            control_socket=self.control_socket,
            supervisor_pid=self.supervisor_pid,
            shard=role.shard,
            generation=generation,
            standby=standby,
            pipe=pipe,
        )


def run(configuration: Configuration) -> int:
    """Runs the server until it is told to stop; returns the exit code.

    Raises AddressInUseError or BootError when it cannot even begin.
    """
    log.configure(configuration.log.level, configuration.log.format)
    log.name_process("supervisor")
    _raise_descriptor_limit()
    with _estate(configuration) as estate:
        processes = ForkedProcesses(CHILD_TYPES, estate.bequeath)
        processes.catch_signals()
        watchdog = Watchdog(configuration.watchdog, PsutilSampler(), estate.region)
        surroundings = Surroundings(
            processes=processes,
            pages=estate.region,
            watchdog=watchdog,
            clock=time.monotonic,
            announce=lambda: _announce(estate.listeners),
        )
        # What exists now lives as long as the server: the collector in a child need not touch it,
        # and its pages stay shared.
        gc.freeze()
        try:
            return Arbiter(_roles(configuration), configuration, surroundings).run()
        finally:
            processes.close()


def _raise_descriptor_limit() -> None:
    """Every connection needs a descriptor, and 1024 are usual; children inherit the limit."""
    try:
        raise_descriptor_limit()
    except OSError as error:
        logger.warning("the limit of open files stays as it is: %s", error)


def _roles(configuration: Configuration) -> list[Role]:
    workers = [Role("signalling", shard) for shard in range(configuration.server.worker_count)]
    return [*workers, Role("control"), Role("janitor")]


@contextmanager
def _estate(configuration: Configuration) -> Iterator[Estate]:
    """Opens everything, in the order in which a mistake is cheapest, and closes it at the end."""
    workers = configuration.server.worker_count
    with ExitStack() as stack:
        runtime_dir = configuration.server.runtime_dir
        try:
            runtime_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            what = f"server.runtime_dir {runtime_dir} cannot be made: {error.strerror}"
            raise BootError(f"{what}; make it, writable for this user, or change it") from None
        stack.enter_context(pid_file(runtime_dir))
        listeners = tuple(
            stack.enter_context(
                open_listener(
                    address,
                    configuration.server.advertise.get(str(address)),
                    workers,
                    lock_directory(),
                )
            )
            for address in configuration.server.listen
        )
        secret = installation_secret(configuration.location.path)
        if configuration.server.steering == "kernel" and workers > 1:
            steer(listeners, secret, attach_steering)
        yield Estate(
            configuration=configuration,
            installation_secret=secret,
            region=_region(workers, configuration.limits.mailbox_kb * 1024),
            wakeups=tuple(os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC) for _ in range(workers)),
            listeners=listeners,
            control_socket=stack.enter_context(_control_socket(runtime_dir)),
            supervisor_pid=os.getpid(),
        )


def _region(workers: int, mailbox_bytes: int) -> Region:
    try:
        return create_region(workers, mailbox_bytes)
    except OSError as error:
        raise BootError(f"shared memory: {error}; is /dev/shm large enough?") from None


@contextmanager
def _control_socket(runtime_dir: Path) -> Iterator[socket.socket]:
    """Listens for commands. The pid file is held, so a socket that is there already is dead."""
    path = runtime_dir / CONTROL_SOCKET
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        path.unlink(missing_ok=True)
        try:
            previous_mask = os.umask(0o177)
            try:
                listener.bind(str(path))
            finally:
                os.umask(previous_mask)
            listener.listen(_CONTROL_BACKLOG)
        except OSError as error:
            raise BootError(f"control socket {path}: {error.strerror}") from None
        listener.setblocking(False)
        try:
            yield listener
        finally:
            with suppress(OSError):
                path.unlink()


def _announce(listeners: tuple[InheritedListener, ...]) -> None:
    for listener in listeners:
        print(f"listening on {listener}")
    print("ready", flush=True)
