"""Stopping in order: the workers finish first, then the children that others still look at."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from sipshard.log import logger
from sipshard.supervisor.child import Child, ChildState, Slot
from sipshard.supervisor.events import Processes

# A worker bounds itself by stop_timeout_s; this much later it is not going to exit any more.
GRACE_S = 1.0

# The control process and the janitor hold nothing that needs finishing.
_LAST_GROUP_S = 3.0


class Shutdown:
    """One stop of the whole server, with the exit code it is to end with."""

    def __init__(self, processes: Processes, exit_code: int, stop_timeout_s: float) -> None:
        self._processes = processes
        self._stop_timeout_s = stop_timeout_s
        self.exit_code = exit_code

    def advance(self, slots: Sequence[Slot], now: float) -> None:
        """Tells the next group to stop as soon as the group before it is gone."""
        workers = [child for slot in slots if slot.role.has_shard for child in slot.children()]
        if workers:
            self._stop(workers, now, now + self._stop_timeout_s + GRACE_S)
            return
        others = [child for slot in slots for child in slot.children()]
        self._stop(others, now, now + _LAST_GROUP_S)

    def hasten(self, slots: Sequence[Slot]) -> None:
        """Ends everything at once: whoever asks twice does not want to wait."""
        logger.warning("asked to stop again: ending all processes at once")
        for slot in slots:
            for child in slot.children():
                self._processes.send_signal(child.pid, signal.SIGKILL)
                child.is_killed = True

    def _stop(self, children: Sequence[Child], now: float, deadline: float) -> None:
        for child in children:
            if child.state is not ChildState.STOPPING:
                self._processes.send_signal(child.pid, signal.SIGTERM)
                child.enter(ChildState.STOPPING, now, deadline)
