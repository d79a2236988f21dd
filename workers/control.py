"""The control process: answers the command line from what the others share."""

from __future__ import annotations

import os
import signal
import time

from sipshard import metrics
from sipshard.control.protocol import (
    Answer,
    RegistrationsRequest,
    Request,
    StatusRequest,
)
from sipshard.control.registrations import registrations
from sipshard.control.server import ControlServer
from sipshard.control.status import Moment, WriteTrouble, status
from sipshard.registrar.location import LocationService
from sipshard.workers.base import ChildProcess, Inheritance
from sipshard.workers.stop_signal import StopSignal

_TICK_S = 1.0


class ControlProcess(ChildProcess):
    """Serves the control socket that the supervisor opened. Reads the location, never writes."""

    name = "control"

    def __init__(self, inheritance: Inheritance) -> None:
        super().__init__(inheritance)
        self._trouble = WriteTrouble()

    def boot(self) -> None:
        """Opens the location and the server.

        The location is opened for writing, though nothing here writes: only so does it exist from
        the first moment, and does ``status`` see that it cannot be written.
        """
        settings = self.inheritance.configuration.location
        self._stop = StopSignal(signal.SIGTERM)
        self._location = LocationService(
            settings.path,
            durability=settings.durability,
            map_size_bytes=settings.map_size_mb * 1024 * 1024,
        )
        self._server = ControlServer(self.inheritance.control_socket, self._answer, time.monotonic)
        self._server.watch(self._stop.fileno(), self._stop.take)
        self._server.watch(self.inheritance.pipe.fileno(), self._drop_commands)

    def serve(self) -> None:
        """Answers until SIGTERM."""
        beat_at = 0.0
        while not self._stop.is_set:
            self._server.turn(_TICK_S)
            now = time.monotonic()
            if now >= beat_at:
                beat_at = now + _TICK_S
                self.inheritance.pipe.heartbeat()
                self._observe()
        self._server.close()
        self._location.close()

    def _answer(self, request: Request) -> Answer:
        match request:
            case StatusRequest():
                return status(
                    self.inheritance.region,
                    [str(listener) for listener in self.inheritance.listeners],
                    self._location.statistics(),
                    self._trouble,
                    Moment(time.monotonic(), time.time()),
                ) | {"supervisor_pid": os.getppid()}
            case RegistrationsRequest():
                return registrations(self._location, request, time.time())

    def _observe(self) -> None:
        region = self.inheritance.region
        shards = range(region.workers)
        self._trouble.observe(metrics.total(region.counters(shard) for shard in shards))

    def _drop_commands(self) -> None:
        """The supervisor has no command for this process; an unread one would wake it for ever."""
        self.inheritance.pipe.commands()
