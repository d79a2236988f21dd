"""The record of one address-of-record: msgpack of (schema, indexed_at_s, bindings).

``indexed_at_s`` is the second under which the expiry index holds this record. It is at or before
the first expiry of the bindings: a refresh leaves the index alone, and the sweep, when it comes to
that second, moves the entry to where it belongs. So a refresh costs one write, not three.

The schema version comes first and never moves, so every version can tell that it cannot read a
newer one.
"""

from __future__ import annotations

from itertools import starmap
from typing import NamedTuple

import msgpack

from sipshard.registrar.binding import Binding

SCHEMA_VERSION = 2
"""Version 1 knew no flows: its rows are shorter, and a binding's last fields have defaults."""


class RecordError(Exception):
    """A record that this version cannot read: damaged, or written by a newer one."""


class Record(NamedTuple):
    """What is stored for one address-of-record; ``bindings`` is never empty in the table."""

    indexed_at_s: int
    bindings: tuple[Binding, ...]


class RecordWriter:
    """Encodes records. It keeps its buffer, so every thread needs its own."""

    __slots__ = ("_pack",)

    def __init__(self) -> None:
        # Header fields may hold bytes that are no UTF-8; they come back as they were.
        self._pack = msgpack.Packer(unicode_errors="surrogateescape").pack

    def encode(self, record: Record) -> bytes:
        """The stored form of ``record``."""
        data: bytes = self._pack((SCHEMA_VERSION, record.indexed_at_s, record.bindings))
        return data


def decode(data: bytes) -> Record:
    """The record in ``data``. Raises :class:`RecordError`."""
    try:
        stored = msgpack.unpackb(data, use_list=False, unicode_errors="surrogateescape")
        if stored[0] not in (1, SCHEMA_VERSION):
            raise RecordError(f"schema {stored[0]}, this program reads {SCHEMA_VERSION}")
        _, indexed_at_s, rows = stored
        return Record(indexed_at_s, tuple(starmap(Binding, rows)))
    except RecordError:
        raise
    except (ValueError, TypeError, LookupError, msgpack.UnpackException) as error:
        raise RecordError(f"damaged: {error}") from error
