"""A stop signal as something a selector can wait for."""

from __future__ import annotations

import os
import signal
from contextlib import suppress


class StopSignal:
    """Catches one signal; the handler only writes into an eventfd. One per process."""

    def __init__(self, number: int) -> None:
        self._event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self.is_set = False
        signal.signal(number, lambda _number, _frame: os.eventfd_write(self._event, 1))

    def fileno(self) -> int:
        """The descriptor that can be read once the signal has come."""
        return self._event

    def take(self) -> None:
        """Notes that the signal has come; for the selector's callback."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._event)
            self.is_set = True
