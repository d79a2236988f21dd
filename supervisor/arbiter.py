"""The supervisor's loop: hear what happened, then do what is due.

The loop is a list of verbs. Events only change the picture of the children; a verb looks at the
picture and at the clock and acts. So no verb depends on which event came last, and a verb that
has nothing to do does nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sipshard.config import Configuration
from sipshard.errors import BootError, ExitCode
from sipshard.log import logger
from sipshard.supervisor.child import Child, ChildState, Role, Slot
from sipshard.supervisor.events import (
    ChildBeat,
    ChildExited,
    ChildFailed,
    ChildReady,
    Event,
    Processes,
    SignalReceived,
)
from sipshard.supervisor.recycle import Recycler
from sipshard.supervisor.shutdown import Shutdown
from sipshard.supervisor.watchdog import Pages, Verdict, Watchdog
from sipshard.workers.base import CHECK_READERS, READ_CERTIFICATES

# A policy may import half of the Python package index, but not for longer than this.
BOOT_TIMEOUT_S = 30.0

# A machine that has no process or memory left is not helped by asking it more often.
FORK_PAUSE_S = 1.0

# Who stops in order without being told by us got its SIGTERM from outside; mostly the whole group
# did (systemd's default), and ours is about to be heard. Until then it is not replaced.
OUTSIDE_STOP_PAUSE_S = 0.1

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the arbiter works with; everything here is replaced in its tests."""

    processes: Processes
    pages: Pages
    watchdog: Watchdog
    clock: Callable[[], float]
    announce: Callable[[], None]


class Arbiter:
    """Keeps one child in every role until it is told to stop. ``run`` is called once."""

    def __init__(
        self, roles: Sequence[Role], settings: Configuration, surroundings: Surroundings
    ) -> None:
        self._settings = settings
        self._processes = surroundings.processes
        self._pages = surroundings.pages
        self._watchdog = surroundings.watchdog
        self._clock = surroundings.clock
        self._announce = surroundings.announce
        self._slots = [Slot(role) for role in roles]
        self._recycler = Recycler(
            self._processes, self._spawn_successor, settings.watchdog.drain_timeout_s
        )
        self._shutdown: Shutdown | None = None
        self._is_started = False

    def run(self) -> int:
        """Runs the server and returns its exit code."""
        verbs = (
            self._respawn,
            self._advance_recycles,
            self._watch,
            self._kill_overdue,
            self._announce_start,
            self._advance_shutdown,
        )
        while True:
            now = self._clock()
            for verb in verbs:
                verb(now)
            if self._shutdown is not None and not any(self._children()):
                return self._shutdown.exit_code
            for event in self._processes.wait(self._pause_s()):
                self._hear(event, self._clock())

    # What is heard.

    def _hear(self, event: Event, now: float) -> None:
        if isinstance(event, SignalReceived):
            self._hear_signal(event.number)
            return
        slot, child = self._find(event.pid)
        if slot is None or child is None:
            return
        match event:
            case ChildReady():
                self._hear_ready(child, now)
            case ChildFailed(_, exit_code, message):
                child.failure, child.failure_code = message, exit_code
            case ChildBeat():
                child.alive_at = now
            case ChildExited(_, exit_code):
                self._hear_exit(slot, child, exit_code, now)

    def _hear_signal(self, number: int) -> None:
        name = signal.Signals(number).name
        if number == signal.SIGHUP:
            logger.info("%s: reading the certificates again; nothing else is reloaded", name)
            self._tell_workers(READ_CERTIFICATES)
        elif number not in _STOP_SIGNALS:
            logger.warning("%s has no effect", name)
        elif self._shutdown is None:
            logger.info("%s: stopping", name)
            self._stop(ExitCode.STOPPED)
        else:
            self._shutdown.hasten(self._slots)

    def _hear_ready(self, child: Child, now: float) -> None:
        if child.state is not ChildState.BOOTING:
            return
        child.enter(ChildState.STANDBY if child.is_standby else ChildState.SERVING, now)
        if self._is_started:
            logger.info("%s is ready", child)

    def _hear_exit(self, slot: Slot, child: Child, exit_code: int, now: float) -> None:
        slot.forget(child)
        self._watchdog.forget(child)
        self._tell_janitor()
        if slot.role.has_shard and slot.current is None:
            # Workers that stop wait until nobody has anything unfinished; the dead have nothing.
            self._pages.clear_work(slot.role.shard)
        if self._is_as_planned(child, exit_code):
            logger.info("%s has stopped", child)
            return
        is_outside_stop = _is_clean(child, exit_code)
        if is_outside_stop:
            logger.info("%s has stopped, told by somebody else", child)
        else:
            logger.error("%s %s", child, _cause(child, exit_code))
        if self._shutdown is not None:
            return
        slot.count_death(child, now)
        if slot.role.has_shard:
            self._pages.write_restarts(slot.role.shard, slot.restarts)
        if is_outside_stop:
            slot.respawn_at = max(slot.respawn_at, now + OUTSIDE_STOP_PAUSE_S)
        elif not self._is_started and child.state is ChildState.BOOTING:
            self._stop(child.failure_code or BootError.exit_code)

    def _is_as_planned(self, child: Child, exit_code: int) -> bool:
        if child.state is ChildState.DRAINING:
            return exit_code == ExitCode.STOPPED
        is_to_stop = child.state is ChildState.STOPPING or self._shutdown is not None
        return is_to_stop and _is_clean(child, exit_code)

    def _tell_janitor(self) -> None:
        """A dead reader of the location would make its file grow until somebody looks for it."""
        for child in self._children():
            if child.role.kind == "janitor":
                self._processes.command(child.pid, CHECK_READERS)

    def _tell_workers(self, command: str) -> None:
        for child in self._children():
            if child.role.has_shard:
                self._processes.command(child.pid, command)

    # The verbs.

    def _respawn(self, now: float) -> None:
        if self._shutdown is not None:
            return
        for slot in self._slots:
            if slot.current is None and now >= slot.respawn_at:
                slot.current = self._spawn(slot, now, is_standby=False)

    def _advance_recycles(self, now: float) -> None:
        for slot in self._slots:
            if self._shutdown is None:
                self._recycler.advance(slot, now)
            else:
                self._recycler.promote(slot, now)

    def _watch(self, now: float) -> None:
        if not self._watchdog.is_due(now):
            return
        for slot in self._slots:
            for child in slot.children():
                judgement = self._watchdog.look(child, now)
                if judgement.verdict is Verdict.END:
                    self._kill(child, judgement.reason)
                elif judgement.verdict is Verdict.REPLACE and self._shutdown is None:
                    self._recycler.begin(slot, judgement.reason, now)

    def _kill_overdue(self, now: float) -> None:
        for child in self._children():
            if child.deadline is not None and now >= child.deadline:
                self._kill(child, f"took too long while {child.state.name.lower()}")

    def _announce_start(self, _now: float) -> None:
        if self._is_started or self._shutdown is not None:
            return
        states = [slot.current.state if slot.current else None for slot in self._slots]
        if all(state is ChildState.SERVING for state in states):
            self._is_started = True
            self._announce()

    def _advance_shutdown(self, now: float) -> None:
        if self._shutdown is not None:
            self._shutdown.advance(self._slots, now)

    # What they share.

    def _stop(self, exit_code: int) -> None:
        if self._shutdown is None:
            timeout_s = self._settings.server.stop_timeout_s
            self._shutdown = Shutdown(self._processes, exit_code, timeout_s)

    def _spawn_successor(self, slot: Slot, now: float) -> None:
        slot.successor = self._spawn(slot, now, is_standby=True)

    def _spawn(self, slot: Slot, now: float, *, is_standby: bool) -> Child | None:
        slot.generation += 1
        try:
            pid = self._processes.spawn(slot.role, slot.generation, standby=is_standby)
        except OSError as error:
            logger.error("cannot fork a child for %s: %s", slot.role, error)
            slot.respawn_at = now + FORK_PAUSE_S
            if not self._is_started:
                self._stop(BootError.exit_code)
            return None
        deadline = now + BOOT_TIMEOUT_S
        return Child(pid, slot.role, slot.generation, is_standby, now, deadline)

    def _kill(self, child: Child, reason: str) -> None:
        if child.is_killed:
            return
        logger.error("killing %s: %s", child, reason)
        child.is_killed = True
        child.deadline = None
        self._processes.send_signal(child.pid, signal.SIGKILL)

    def _children(self) -> Iterator[Child]:
        return (child for slot in self._slots for child in slot.children())

    def _find(self, pid: int) -> tuple[Slot | None, Child | None]:
        for slot in self._slots:
            for child in slot.children():
                if child.pid == pid:
                    return slot, child
        return None, None

    def _pause_s(self) -> float:
        """How long nothing is due unless something happens."""
        due = [self._watchdog.next_look_at]
        due += [child.deadline for child in self._children() if child.deadline is not None]
        if self._shutdown is None:
            due += [slot.respawn_at for slot in self._slots if _lacks_a_child(slot)]
        return max(0.0, min(due) - self._clock())


def _lacks_a_child(slot: Slot) -> bool:
    if slot.current is None:
        return True
    return slot.current.state is ChildState.DRAINING and slot.successor is None


def _is_clean(child: Child, exit_code: int) -> bool:
    # SIGTERM ends a child by itself as long as it has not booted.
    return child.failure is None and exit_code in (ExitCode.STOPPED, -signal.SIGTERM)


def _cause(child: Child, exit_code: int) -> str:
    if child.failure is not None:
        return f"cannot boot: {child.failure}"
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return f"exited with {exit_code}"
