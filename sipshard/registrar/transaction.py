"""One write transaction of the location table: records, their expiry index and their count.

The three always change together, in one LMDB transaction, so no crash can part them.
"""

from __future__ import annotations

import struct
from typing import Any, NamedTuple, final

import lmdb

from sipshard.registrar.binding import Binding
from sipshard.registrar.record import Record, RecordWriter, decode

SECOND = struct.Struct(">Q")
"""Numbers in keys and in ``meta``: big-endian, so that keys sort by time."""

BINDINGS = b"bindings"
"""The key in ``meta`` of the number of bindings in the table."""


class Databases(NamedTuple):
    """The handles of the three databases."""

    registrations: Any
    expiry: Any
    meta: Any


@final
class WriteTransaction:
    """One write transaction. Everything in it is committed together or not at all."""

    __slots__ = ("_added", "_databases", "_encode", "_transaction")

    def __init__(
        self, transaction: lmdb.Transaction[bytes], databases: Databases, writer: RecordWriter
    ) -> None:
        self._transaction = transaction
        self._databases = databases
        self._encode = writer.encode
        self._added = 0

    def load(self, key: bytes) -> Record | None:
        """The record of an address-of-record. Raises RecordError when it cannot be read."""
        data = self._transaction.get(key, None, self._databases.registrations)
        return None if data is None else decode(data)

    def store(self, key: bytes, before: Record | None, bindings: tuple[Binding, ...]) -> None:
        """Replaces ``before``, which :meth:`load` gave for ``key``, by ``bindings``."""
        self._added += len(bindings) - (0 if before is None else len(before.bindings))
        if not bindings:
            self._remove(key, before)
            return
        first_expiry_s = _first_expiry_s(bindings)
        if before is None:
            self._index(key, first_expiry_s)
        elif first_expiry_s >= before.indexed_at_s:
            first_expiry_s = before.indexed_at_s
        else:
            self._unindex(key, before.indexed_at_s)
            self._index(key, first_expiry_s)
        record = Record(first_expiry_s, bindings)
        self._transaction.put(key, self._encode(record), db=self._databases.registrations)

    def reindex(self, key: bytes, record: Record) -> None:
        """Moves the entry in the expiry index to the record's real first expiry."""
        first_expiry_s = _first_expiry_s(record.bindings)
        self._unindex(key, record.indexed_at_s)
        self._index(key, first_expiry_s)
        moved = Record(first_expiry_s, record.bindings)
        self._transaction.put(key, self._encode(moved), db=self._databases.registrations)

    def due(self, now_s: int, limit: int) -> list[tuple[int, bytes]]:
        """The first ``limit`` entries of the expiry index up to ``now_s``: (second, AOR)."""
        found: list[tuple[int, bytes]] = []
        with self._transaction.cursor(self._databases.expiry) as cursor:
            for key in cursor.iternext(keys=True, values=False):
                (second,) = SECOND.unpack_from(key)
                if second > now_s or len(found) == limit:
                    break
                found.append((second, bytes(key[SECOND.size :])))
        return found

    def drop_entry(self, second: int, key: bytes) -> None:
        """Removes an entry of the expiry index that no record stands behind."""
        self._unindex(key, second)

    def finish(self) -> None:
        """Brings the count of bindings up to date; called once, before the commit."""
        if self._added:
            meta = self._databases.meta
            (count,) = SECOND.unpack(self._transaction.get(BINDINGS, bytes(8), meta))
            count = max(0, count + self._added)
            self._transaction.put(BINDINGS, SECOND.pack(count), db=meta)

    def _remove(self, key: bytes, before: Record | None) -> None:
        if before is not None:
            self._unindex(key, before.indexed_at_s)
            self._transaction.delete(key, db=self._databases.registrations)

    def _index(self, key: bytes, second: int) -> None:
        self._transaction.put(SECOND.pack(second) + key, b"", db=self._databases.expiry)

    def _unindex(self, key: bytes, second: int) -> None:
        self._transaction.delete(SECOND.pack(second) + key, db=self._databases.expiry)


def _first_expiry_s(bindings: tuple[Binding, ...]) -> int:
    if len(bindings) == 1:
        return bindings[0].expires_at_s
    return min(binding.expires_at_s for binding in bindings)
