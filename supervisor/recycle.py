"""Replacing a worker without anyone noticing.

::

    SERVING            the watchdog wants it replaced
      │  fork a STANDBY successor; it boots, reads no socket, reads the hand-over ring
      │  successor ready: SIGUSR1
    DRAINING           reads on, keeps what belongs to its own transactions, hands over the rest
      │  none left (exit 0), or drain_timeout_s (SIGKILL)
    gone               the successor is told to take over, and reads the sockets

A child without a shard has nothing to hand over and nobody who waits for it: it is stopped, and
respawned like one that died.
"""

from __future__ import annotations

import signal
from collections.abc import Callable

from sipshard.log import logger
from sipshard.supervisor.child import Child, ChildState, Slot
from sipshard.supervisor.events import Processes
from sipshard.workers.base import TAKE_OVER

# Enough for a loop that is alive to close its files; the process holds nothing that must be kept.
_STOP_WITHOUT_SHARD_S = 5.0

# A limit below what a fresh worker needs must not turn into replacing without a pause.
RECYCLE_PAUSE_S = 10.0


class Recycler:
    """The steps of a recycle; every one looks at a slot and does what is due now."""

    def __init__(
        self,
        processes: Processes,
        spawn_standby: Callable[[Slot, float], None],
        drain_timeout_s: float,
    ) -> None:
        self._processes = processes
        self._spawn_standby = spawn_standby
        self._drain_timeout_s = drain_timeout_s

    def begin(self, slot: Slot, reason: str, now: float) -> None:
        """Starts to replace the serving child of a slot, unless that is under way."""
        child = slot.current
        if child is None or child.state is not ChildState.SERVING or slot.successor is not None:
            return
        if now < max(slot.respawn_at, slot.next_recycle_at):
            return
        slot.next_recycle_at = now + RECYCLE_PAUSE_S
        logger.warning("replacing %s: %s", child, reason)
        if slot.role.has_shard:
            self._spawn_standby(slot, now)
            return
        self._processes.send_signal(child.pid, signal.SIGTERM)
        child.enter(ChildState.STOPPING, now, deadline=now + _STOP_WITHOUT_SHARD_S)

    def advance(self, slot: Slot, now: float) -> None:
        """Goes on with the recycle of a slot, if there is one."""
        current, successor = slot.current, slot.successor
        if current is None:
            return
        if current.is_standby:
            self.promote(slot, now)
        elif current.state is ChildState.DRAINING and successor is None:
            # The successor died during the hand-over; the datagrams wait in the ring for another.
            if now >= slot.respawn_at:
                self._spawn_standby(slot, now)
        elif current.state is ChildState.SERVING and successor is not None:
            self._drain(current, successor, now)

    def promote(self, slot: Slot, now: float) -> None:
        """Lets a successor whose predecessor is gone read the sockets.

        While the server stops, too: others still wait for what comes in there.
        """
        if slot.current is not None and slot.current.is_standby:
            self._take_over(slot.current, now)

    def _drain(self, current: Child, successor: Child, now: float) -> None:
        if successor.state is not ChildState.STANDBY:
            return
        self._processes.send_signal(current.pid, signal.SIGUSR1)
        current.enter(ChildState.DRAINING, now, deadline=now + self._drain_timeout_s)
        logger.info("%s drains, %s is to follow", current, successor)

    def _take_over(self, child: Child, now: float) -> None:
        """Makes a successor whose predecessor is gone the serving child, booted or not."""
        child.is_standby = False
        self._processes.command(child.pid, TAKE_OVER)
        if child.state is ChildState.STANDBY:
            child.enter(ChildState.SERVING, now)
            logger.info("%s has taken over", child)
