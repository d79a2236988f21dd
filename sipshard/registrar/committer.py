"""Group commit: registrations are written by a thread of their own, many in one transaction.

A commit costs about the same for one record as for fifty, and with ``durability = "disk"`` it
waits for the disk; so the loop hands updates over and is told, once per group, what became of
them. Nothing is answered before the commit that contains it has returned.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeAlias, final

from sipshard.log import logger
from sipshard.registrar.binding import Binding
from sipshard.registrar.location import LocationError, LocationService
from sipshard.registrar.record import RecordError
from sipshard.registrar.rules import Refusal, Update, apply
from sipshard.registrar.transaction import WriteTransaction

MAX_WAITING = 10_000
"""Updates that may wait for a commit; those beyond are answered 503."""

MAX_GROUP = 512
"""Updates of one transaction: it holds the lock that every writing process of the node needs."""


class Job(NamedTuple):
    """One update on its way to the table, for the transaction that waits for its answer."""

    transaction_id: int
    key: bytes
    update: Update
    echoes_path: bool


@dataclass(frozen=True, slots=True)
class Failure:
    """The table could not be written; nothing of the update is in it."""

    problem: str


Result: TypeAlias = tuple[Binding, ...] | Refusal | Failure
Call: TypeAlias = Callable[..., Any]


class Scheduler(Protocol):
    """The part of an asyncio loop that the committer needs."""

    def call_later(self, delay: float, callback: Call, /) -> object:
        """Runs ``callback`` in the loop's thread after ``delay`` seconds."""

    def call_soon_threadsafe(self, callback: Call, /, *arguments: Any) -> object:
        """Runs ``callback`` in the loop's thread; may be called from any thread."""


@final
class Committer:
    """The writing thread of one worker.

    ``finished(jobs, results)`` is called in the loop's thread, once per group, with the results in
    the order of the jobs. A group is what came in ``window_s`` seconds.
    """

    def __init__(
        self,
        location: LocationService,
        loop: Scheduler,
        finished: Callable[[list[Job], list[Result]], None],
        *,
        max_contacts: int,
        window_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._location = location
        self._loop = loop
        self._finished = finished
        self._max_contacts = max_contacts
        self._window_s = window_s
        self._clock = clock
        # The loop's thread appends and the writing thread pops; each is atomic for a deque.
        self._waiting: deque[Job] = deque()
        # The writing thread takes this lock to wait for work; only the loop's thread unlocks it.
        # Unlocked means: work was announced and the writing thread has not seen it yet.
        self._work = threading.Lock()
        self._work.acquire()
        self._is_announced = False
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)

    def start(self) -> None:
        """Starts the thread. Only after the fork: threads do not survive one."""
        self._thread.start()

    def submit(self, job: Job) -> bool:
        """Hands an update over; False when too many wait. Only from the loop's thread."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting.append(job)
        if not self._is_announced:
            # The window is a timer of the loop, not a sleep of the thread: on a worker's one CPU
            # a thread that is woken only to sleep costs two switches per group.
            self._is_announced = True
            self._loop.call_later(self._window_s, self._announce)
        return True

    @property
    def waiting(self) -> int:
        """How many updates wait for their commit to begin."""
        return len(self._waiting)

    def stop(self) -> None:
        """Writes what waits and ends the thread. The outcomes still come through the loop."""
        self._is_stopping = True
        self._announce()
        self._thread.join()

    def _announce(self) -> None:
        self._is_announced = False
        if self._work.locked():
            self._work.release()

    def _run(self) -> None:
        while not self._is_stopping:
            self._work.acquire()
            # What comes from now on is announced anew, so one look at the length is enough.
            for _ in range(-(-len(self._waiting) // MAX_GROUP)):
                self._commit(self._take())

    def _take(self) -> list[Job]:
        waiting = self._waiting
        return [waiting.popleft() for _ in range(min(len(waiting), MAX_GROUP))]

    def _commit(self, jobs: list[Job]) -> None:
        results: list[Result]
        try:
            results = self._location.write(partial(self._apply, jobs, int(self._clock())))
        except LocationError as error:
            results = [Failure(str(error))] * len(jobs)
        except Exception as error:
            # A mistake of ours must cost these requests, not the thread and with it all others.
            logger.exception("a group of %d registrations was not written", len(jobs))
            results = [Failure(str(error))] * len(jobs)
        try:
            self._loop.call_soon_threadsafe(self._finished, jobs, results)
        except RuntimeError:
            logger.warning("the loop ended before %d registrations were answered", len(jobs))

    def _apply(self, jobs: list[Job], now_s: int, transaction: WriteTransaction) -> list[Result]:
        return [self._apply_one(job, now_s, transaction) for job in jobs]

    def _apply_one(self, job: Job, now_s: int, transaction: WriteTransaction) -> Result:
        key = job.key
        try:
            record = transaction.load(key)
        except RecordError as error:
            logger.error("record of %r cannot be read: %s", key, error)
            return Failure(f"record cannot be read: {error}")
        before = () if record is None else record.bindings
        after = apply(job.update, before, now_s, self._max_contacts)
        if not isinstance(after, Refusal) and after != before:
            transaction.store(key, record, after)
        return after
