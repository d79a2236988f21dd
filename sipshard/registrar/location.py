"""The location service: address-of-record → bindings, in one LMDB environment per node.

========================  ====================================  ================================
database                  key                                   value
========================  ====================================  ================================
``registrations``         the address-of-record                 :mod:`sipshard.registrar.record`
``expiry``                second, 8 bytes big-endian, + AOR     empty
``meta``                  ``schema``, ``bindings``              8 bytes big-endian
========================  ====================================  ================================

Any process may write. A transaction is all or nothing, also when its process is killed in the
middle; the next writer finds the state before it. Readers see what was committed before they
began. The environment is opened after the fork, once per process.

The table being out of order never ends a process: lookups find nothing, writes raise
:class:`LocationError`, :meth:`LocationService.state` says why, and opening is tried again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, final

import lmdb

from sipshard.log import logger
from sipshard.registrar.binding import Binding
from sipshard.registrar.record import SCHEMA_VERSION, RecordError, RecordWriter, decode
from sipshard.registrar.transaction import BINDINGS, SECOND, Databases, WriteTransaction
from sipshard.sip import Uri

MAX_AOR_BYTES = 480
"""LMDB keys end at 511 bytes and the expiry index puts 8 before the address-of-record."""

MAX_READERS = 512
"""Reader slots of the environment: one per read transaction that is open in any process."""

RETRY_INTERVAL_S = 1.0
"""How often opening is tried while the table is out of order."""

GROWTH_ATTEMPTS = 4
"""A group that does not fit after the map has been doubled so often has another problem."""

T = TypeVar("T")


class LocationError(Exception):
    """The table cannot be written; the text says why."""


class Statistics(NamedTuple):
    """What ``status`` shows. ``state``: "ok", "read-only" or "failed"; ``error`` is its reason."""

    state: str
    error: str
    aors: int
    bindings: int
    map_used_percent: float


@final
class LocationService:
    """The table of one node. Any thread may read; one thread of a process may write.

    ``durability`` is "disk" (a commit is on the disk) or "process" (it is in the page cache, which
    outlives any process; the janitor syncs every second). ``map_size_bytes`` is where the map
    starts; it doubles when it is full. ``clock`` gives Unix time.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: str = "disk",
        map_size_bytes: int = 1 << 30,
        read_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._is_synced = durability == "disk"
        self._map_size_bytes = map_size_bytes
        self._read_only = read_only
        self._clock = clock
        self._writer = RecordWriter()
        # ``_mapping`` is held for every read and by whoever maps or unmaps the environment: a map
        # must not move while somebody reads in it. ``_writing`` is held for every write and by
        # whoever maps or unmaps outside of one. Who needs both takes ``_writing`` first. A reader
        # never waits for ``_writing`` unless the map must move, since a writer may wait for the
        # disk or for another process.
        self._mapping = threading.Lock()
        self._writing = threading.Lock()
        self._environment: lmdb.Environment | None = None
        self._databases = Databases(None, None, None)
        self._is_writable = False
        self._error = ""
        self._next_attempt_s = 0.0
        with self._mapping:
            self._open()

    def lookup(self, aor: Uri | str) -> tuple[Binding, ...]:
        """The live bindings of ``aor`` ("user@host", or any SIP URI), preferred ones first.

        Empty when there is none, also when the table cannot be read.
        """
        if not isinstance(aor, str):
            aor = aor.aor
        elif aor[:4].lower() in ("sip:", "sips"):
            aor = Uri.parse(aor).aor
        key = aor_key(aor)
        data = self._read(key) if len(key) <= MAX_AOR_BYTES else None
        if data is None:
            return ()
        try:
            bindings = decode(data).bindings
        except RecordError as error:
            logger.error("record of %s cannot be read: %s", aor, error)
            return ()
        return _live(bindings, self._clock())

    def page(
        self, after: str | None = None, limit: int = 100
    ) -> list[tuple[str, tuple[Binding, ...]]]:
        """Up to ``limit`` addresses-of-record behind ``after`` in key order, with live bindings."""
        start = b"" if after is None else aor_key(after) + b"\0"
        now_s = self._clock()
        found: list[tuple[str, tuple[Binding, ...]]] = []
        with self._mapping:
            environment = self._opened()
            if environment is None:
                return []
            with environment.begin(self._databases.registrations) as transaction:
                cursor = transaction.cursor()
                more = cursor.set_range(start)
                while more and len(found) < limit:
                    bindings = _live(_readable(cursor.value()), now_s)
                    if bindings:
                        found.append((cursor.key().decode(errors="surrogateescape"), bindings))
                    more = cursor.next()
        return found

    def write(self, work: Callable[[WriteTransaction], T]) -> T:
        """Runs ``work`` in a write transaction and commits it; returns what it returned.

        ``work`` is run again when the map had to grow, so it must have no effect but on the
        transaction. Waits for the writer of another process. Raises :class:`LocationError` when
        nothing was committed; what ``work`` raises is raised again, without a commit.
        """
        with self._writing:
            for _ in range(GROWTH_ATTEMPTS):
                environment = self._writable()
                try:
                    with environment.begin(write=True) as transaction:
                        batch = WriteTransaction(transaction, self._databases, self._writer)
                        result = work(batch)
                        batch.finish()
                except lmdb.MapFullError:
                    self._grow(environment)
                except lmdb.MapResizedError:
                    self._map_again(environment, 0)
                except (lmdb.Error, OSError) as error:
                    self._failed(error)
                    raise LocationError(str(error)) from error
                else:
                    self._error = ""
                    return result
        raise LocationError("the map is full and cannot grow")

    def has_due(self, now_s: int) -> bool:
        """Whether the expiry index has an entry up to ``now_s``. Takes no write lock."""
        with self._mapping:
            environment = self._opened()
            if environment is None:
                return False
            with suppress(lmdb.Error), environment.begin(self._databases.expiry) as transaction:
                cursor = transaction.cursor()
                return cursor.first() and SECOND.unpack_from(cursor.key())[0] <= now_s
        return False

    def statistics(self) -> Statistics:
        """What ``status`` shows of the table."""
        with self._mapping:
            environment = self._opened()
            if environment is None:
                return Statistics("failed", self._error, 0, 0, 0.0)
            try:
                return self._measured(environment)
            except lmdb.Error as error:
                return Statistics("failed", str(error), 0, 0, 0.0)

    def reader_check(self) -> int:
        """Frees the reader slots of dead processes, which would keep old pages for ever."""
        with self._mapping, suppress(lmdb.Error):
            environment = self._opened()
            return 0 if environment is None else environment.reader_check()
        return 0

    def sync(self) -> None:
        """Brings what is committed to the disk. Raises :class:`LocationError`."""
        with self._writing:
            with self._mapping:
                environment = self._opened()
            if environment is None or not self._is_writable:
                return
            try:
                environment.sync(True)
            except lmdb.Error as error:
                raise LocationError(str(error)) from error

    def close(self) -> None:
        """Closes the environment. No other call may follow."""
        with self._writing, self._mapping:
            self._forget()
            self._next_attempt_s = float("inf")

    def _read(self, key: bytes) -> bytes | None:
        """The value of ``key`` in the newest snapshot; None also when it cannot be read."""
        for _ in range(2):
            with self._mapping:
                environment = self._opened()
                if environment is None:
                    return None
                try:
                    return _get(environment, self._databases.registrations, key)
                except lmdb.MapResizedError:
                    pass
                except lmdb.Error as error:
                    self._note(error)
                    return None
            with self._writing:
                self._map_again(environment, 0)
        return None

    def _opened(self) -> lmdb.Environment | None:
        """The environment, opened if it was not. ``_mapping`` is held."""
        if self._environment is None and time.monotonic() >= self._next_attempt_s:
            self._open()
        return self._environment

    def _writable(self) -> lmdb.Environment:
        """The environment for a write; one that is open for reading only is tried again."""
        with self._mapping:
            if not self._is_writable and time.monotonic() >= self._next_attempt_s:
                self._forget()
            environment = self._opened()
            if environment is None or not self._is_writable:
                raise LocationError(self._error or "opened for reading only")
            return environment

    def _open(self) -> None:
        """Opens for writing; if that is refused, what is there is still good for lookups."""
        self._next_attempt_s = time.monotonic() + RETRY_INTERVAL_S
        has_table = (self._path / "data.mdb").exists()
        if self._read_only and not has_table:
            self._error = "there is no table yet"
            return
        if self._read_only:
            is_as_wanted = self._attempt(is_writable=False)
        else:
            is_as_wanted = self._attempt(is_writable=True)
            if not is_as_wanted and has_table:
                self._attempt(is_writable=False)
        if is_as_wanted:
            self._error = ""

    def _attempt(self, *, is_writable: bool) -> bool:
        try:
            if is_writable:
                self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            environment = lmdb.open(
                str(self._path),
                map_size=self._map_size_bytes,
                readonly=not is_writable,
                create=is_writable,
                sync=self._is_synced,
                metasync=self._is_synced,
                mode=0o600,
                max_readers=MAX_READERS,
                max_dbs=len(Databases._fields),
            )
        except (lmdb.Error, OSError) as error:
            self._note(error)
            return False
        try:
            self._databases = _databases(environment, create=is_writable)
        except (lmdb.Error, LocationError) as error:
            environment.close()
            self._note(error)
            return False
        self._environment = environment
        self._is_writable = is_writable
        return True

    def _measured(self, environment: lmdb.Environment) -> Statistics:
        with environment.begin() as transaction:
            aors = transaction.stat(self._databases.registrations)["entries"]
            count = transaction.get(BINDINGS, bytes(8), self._databases.meta)
        info = environment.info()
        used_bytes = (info["last_pgno"] + 1) * environment.stat()["psize"]
        state = "read-only" if self._error else "ok"
        used_percent = round(100 * used_bytes / info["map_size"], 1)
        return Statistics(state, self._error, aors, SECOND.unpack(count)[0], used_percent)

    def _note(self, error: Exception) -> None:
        """Keeps the reason for ``status`` and logs it when it is a new one."""
        if str(error) != self._error:
            logger.error("location %s: %s", self._path, error)
        self._error = str(error)

    def _failed(self, error: Exception) -> None:
        """After a write that failed: some errors leave an environment that is of no more use."""
        self._note(error)
        if isinstance(error, lmdb.PanicError | lmdb.CorruptedError):
            with self._mapping:
                self._forget()

    def _forget(self) -> None:
        """Closes the environment; both locks are held."""
        self._is_writable = False
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _grow(self, environment: lmdb.Environment) -> None:
        self._map_size_bytes = 2 * environment.info()["map_size"]
        logger.warning("the location map grows to %d MB", self._map_size_bytes >> 20)
        self._map_again(environment, self._map_size_bytes)

    def _map_again(self, environment: lmdb.Environment, size_bytes: int) -> None:
        """Maps ``size_bytes``; 0 is the size to which another process has grown the map.

        ``_writing`` is held and no write transaction is open.

        LMDB's own answer to 0 may be what is used to the last page, so it is rounded up to our
        steps: every process then arrives at the same sizes.
        """
        with self._mapping, suppress(lmdb.Error):
            environment.set_mapsize(size_bytes)
            current_bytes = environment.info()["map_size"]
            while self._map_size_bytes < current_bytes:
                self._map_size_bytes *= 2
            if self._map_size_bytes != current_bytes:
                environment.set_mapsize(self._map_size_bytes)


def _databases(environment: lmdb.Environment, *, create: bool) -> Databases:
    names = (name.encode() for name in Databases._fields)
    databases = Databases(*[environment.open_db(name, create=create) for name in names])
    with environment.begin(databases.meta, write=create) as transaction:
        schema = transaction.get(b"schema")
        if schema is None and create:
            transaction.put(b"schema", SECOND.pack(SCHEMA_VERSION))
        elif schema is not None and SECOND.unpack(schema)[0] > SCHEMA_VERSION:
            raise LocationError("the table was written by a newer version")
    return databases


def aor_key(aor: str) -> bytes:
    """The key of an address-of-record; longer than MAX_AOR_BYTES cannot be stored."""
    return aor.encode(errors="surrogateescape")


def _get(environment: lmdb.Environment, database: Any, key: bytes) -> bytes | None:
    transaction = environment.begin(database)
    try:
        return transaction.get(key)
    finally:
        transaction.abort()


def _readable(data: bytes) -> tuple[Binding, ...]:
    try:
        return decode(data).bindings
    except RecordError:
        return ()


def _live(bindings: tuple[Binding, ...], now_s: float) -> tuple[Binding, ...]:
    if len(bindings) == 1:
        return bindings if bindings[0].expires_at_s > now_s else ()
    live = [binding for binding in bindings if binding.expires_at_s > now_s]
    live.sort(key=_preference)
    return tuple(live)


def _preference(binding: Binding) -> int:
    return -binding.q_milli
