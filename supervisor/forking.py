"""The real layer of processes below the arbiter: fork, pipes, signals, reaping."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress

import msgpack

from sipshard.errors import ExitCode
from sipshard.log import logger
from sipshard.supervisor.child import Role
from sipshard.supervisor.events import (
    ChildBeat,
    ChildExited,
    ChildFailed,
    ChildReady,
    Event,
    SignalReceived,
)
from sipshard.workers.base import (
    FAILED,
    HEARTBEAT,
    READY,
    REPORT_BYTES,
    SIGNALS_OF_A_CHILD,
    ChildPipe,
    ChildProcess,
    Inheritance,
    run_child,
)

_HANDLED_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

Bequeath = Callable[[Role, int, bool, ChildPipe], Inheritance]


class ForkedProcesses:
    """Forks children and hears what becomes of them. One per supervisor; see ``Processes``."""

    def __init__(self, child_types: Mapping[str, type[ChildProcess]], bequeath: Bequeath) -> None:
        self._child_types = child_types
        self._bequeath = bequeath
        self._pipes: dict[int, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakeup = socket.socketpair()
        self._woken.setblocking(False)
        self._wakeup.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)

    def catch_signals(self) -> None:
        """Turns the supervisor's signals into events; a handler only enqueues."""
        signal.set_wakeup_fd(self._wakeup.fileno(), warn_on_full_buffer=False)
        for number in _HANDLED_SIGNALS:
            # The wake-up descriptor does the work; a handler must exist for it to be written.
            signal.signal(number, lambda _number, _frame: None)

    def close(self) -> None:
        """Gives the signals back and closes everything; all children are gone by now."""
        signal.set_wakeup_fd(-1)
        for number in _HANDLED_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        self._close_descriptors()

    def spawn(self, role: Role, generation: int, *, standby: bool) -> int:
        """Forks a child and returns its pid. Raises OSError when the kernel has no process."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sys.stdout.flush()
        sys.stderr.flush()
        # Until the child has its own handlers, a signal in it would be written into our queue.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS_OF_A_CHILD)
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS_OF_A_CHILD)
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            ours.close()
            self._live(role, generation, standby, theirs)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS_OF_A_CHILD)
        theirs.close()
        ours.setblocking(False)
        self._pipes[pid] = ours
        self._selector.register(ours, selectors.EVENT_READ, pid)
        return pid

    def send_signal(self, pid: int, number: int) -> None:
        """Sends a signal to a child; its pid is ours until ``wait`` has reported its exit."""
        if pid in self._pipes:
            os.kill(pid, number)

    def command(self, pid: int, command: str) -> None:
        """Writes a command into the child's pipe."""
        if pipe := self._pipes.get(pid):
            with suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                pipe.send(msgpack.packb({"command": command}))

    def wait(self, timeout_s: float) -> list[Event]:
        """Waits until something has happened, at most ``timeout_s``, and returns all of it."""
        events: list[Event] = []
        for key, _mask in self._selector.select(timeout_s):
            if key.data is None:
                events += self._signals()
            else:
                events += self._reports(key.data)
        return events + self._exits()

    def _signals(self) -> list[Event]:
        numbers = bytearray()
        with suppress(BlockingIOError):
            while chunk := self._woken.recv(256):
                numbers += chunk
        return [SignalReceived(number) for number in numbers if number != signal.SIGCHLD]

    def _reports(self, pid: int) -> list[Event]:
        pipe = self._pipes[pid]
        events: list[Event] = []
        with suppress(BlockingIOError, ConnectionResetError):
            while packet := pipe.recv(REPORT_BYTES):
                events += _understood(pid, packet)
            # The end of the stream: the exit is reaped in a moment.
            self._unwatch(pipe)
        return events

    def _unwatch(self, pipe: socket.socket) -> None:
        with suppress(KeyError):
            self._selector.unregister(pipe)

    def _exits(self) -> list[Event]:
        events: list[Event] = []
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    break
                if pid in self._pipes:
                    # What the child said last explains its exit, so it comes first.
                    events += self._reports(pid)
                    pipe = self._pipes.pop(pid)
                    self._unwatch(pipe)
                    pipe.close()
                    events.append(ChildExited(pid, os.waitstatus_to_exitcode(status)))
        return events

    def _live(self, role: Role, generation: int, standby: bool, pipe: socket.socket) -> None:
        """The child's side of the fork; never returns."""
        exit_code: int = ExitCode.FAILED
        try:
            signal.set_wakeup_fd(-1)
            self._close_descriptors()
            inheritance = self._bequeath(role, generation, standby, ChildPipe(pipe))
            exit_code = run_child(self._child_types[role.kind], inheritance)
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(exit_code)

    def _close_descriptors(self) -> None:
        self._selector.close()
        for mine in (self._woken, self._wakeup, *self._pipes.values()):
            mine.close()


def _understood(pid: int, packet: bytes) -> list[Event]:
    """The event of a report. A child that has lost its mind must not take the others along."""
    try:
        return [_event(pid, msgpack.unpackb(packet))]
    except (ValueError, msgpack.UnpackException) as error:
        logger.error("pid %d reported what nobody understands: %s", pid, error)
        return []


def _event(pid: int, report: Mapping[str, object]) -> Event:
    match report:
        case {"event": str(kind)} if kind == READY:
            return ChildReady(pid)
        case {"event": str(kind)} if kind == HEARTBEAT:
            return ChildBeat(pid)
        case {"event": str(kind), "exit_code": int(code), "message": str(text)} if kind == FAILED:
            return ChildFailed(pid, code, text)
    raise ValueError(f"a child reported {report!r}")
