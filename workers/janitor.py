"""The janitor: keeps the location small and healthy, off every path that a caller waits for."""

from __future__ import annotations

import selectors
import signal
import time

from sipshard.log import logger
from sipshard.registrar.expiry import BATCH, Sweeper
from sipshard.registrar.location import LocationError, LocationService
from sipshard.workers.base import CHECK_READERS, ChildProcess
from sipshard.workers.stop_signal import StopSignal

INTERVAL_S = 1.0

# Between two full batches of a long sweep the workers get this long to commit registrations.
PAUSE_BETWEEN_BATCHES_S = 0.01

# Where the map is this full, an operator should look at the disk before it grows by itself.
MAP_ALARM_PERCENT = 80.0


class Chores:
    """What the janitor does, one call per tick; no clock and no sleep of its own."""

    def __init__(self, location: LocationService, durability: str) -> None:
        self._location = location
        self._sweeper = Sweeper(location)
        self._is_synced_here = durability == "process"
        self._is_alarmed = False
        self._trouble = ""

    def tick(self) -> None:
        """The duties of every second, without the sweep."""
        self.check_readers()
        if self._is_synced_here:
            self._sync()
        self._watch_map()

    def sweep(self, now_s: int) -> bool:
        """Removes one batch of expired bindings; returns whether there may be more at once."""
        try:
            entries = self._sweeper.sweep(now_s).entries
        except LocationError as error:
            self._complain(f"expired registrations cannot be removed: {error}")
            return False
        self._trouble = ""
        return entries >= BATCH

    def check_readers(self) -> None:
        """Frees reader slots of dead processes; they would make the file grow without end."""
        if freed := self._location.reader_check():
            logger.info("freed %d reader slots of dead processes", freed)

    def _watch_map(self) -> None:
        used_percent = self._location.statistics().map_used_percent
        if used_percent >= MAP_ALARM_PERCENT and not self._is_alarmed:
            logger.warning("the location map is %.0f %% full; it grows when it must", used_percent)
        self._is_alarmed = used_percent >= MAP_ALARM_PERCENT

    def _sync(self) -> None:
        try:
            self._location.sync()
        except LocationError as error:
            self._complain(f"registrations cannot be brought to the disk: {error}")

    def _complain(self, trouble: str) -> None:
        """Logs a trouble when it is a new one, not every second."""
        if trouble != self._trouble:
            logger.error("%s", trouble)
        self._trouble = trouble


class Janitor(ChildProcess):
    """Runs the chores every second until SIGTERM."""

    name = "janitor"

    def boot(self) -> None:
        """Opens the location."""
        settings = self.inheritance.configuration.location
        self._stop = StopSignal(signal.SIGTERM)
        self._location = LocationService(
            settings.path,
            durability=settings.durability,
            map_size_bytes=settings.map_size_mb * 1024 * 1024,
        )
        self._chores = Chores(self._location, settings.durability)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stop.fileno(), selectors.EVENT_READ, self._stop.take)
        pipe = self.inheritance.pipe
        self._selector.register(pipe.fileno(), selectors.EVENT_READ, self._obey)

    def serve(self) -> None:
        """Works until SIGTERM."""
        while not self._stop.is_set:
            self._chores.tick()
            self.inheritance.pipe.heartbeat()
            self._sweep_all()
            self._wait(INTERVAL_S)
        self._location.close()

    def _sweep_all(self) -> None:
        """Sweeps until nothing is due; a mass expiry keeps neither heartbeat nor stop waiting."""
        while not self._stop.is_set and self._chores.sweep(int(time.time())):
            self.inheritance.pipe.heartbeat()
            self._wait(PAUSE_BETWEEN_BATCHES_S)

    def _wait(self, timeout_s: float) -> None:
        for key, _mask in self._selector.select(timeout_s):
            key.data()

    def _obey(self) -> None:
        if CHECK_READERS in self.inheritance.pipe.commands():
            self._chores.check_readers()
