"""Removes bindings that have run out. LMDB knows no expiry, so the table has an index by second.

The index is lazy (see :mod:`sipshard.registrar.record`): the entry of an address-of-record says
when to look at it, not that something has expired.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple, final

from sipshard.log import logger
from sipshard.registrar.location import LocationService
from sipshard.registrar.record import RecordError
from sipshard.registrar.transaction import WriteTransaction

BATCH = 200
"""Entries per transaction: about 2 ms, for which no worker can commit a registration."""


class Swept(NamedTuple):
    """What one batch did: index entries looked at, bindings removed."""

    entries: int
    bindings: int


@final
class Sweeper:
    """The expiry sweep. One process of the node runs it; two would only waste work."""

    def __init__(self, location: LocationService, batch: int = BATCH) -> None:
        self._location = location
        self._batch = batch

    def sweep(self, now_s: int) -> Swept:
        """Looks at one batch of what is due at ``now_s`` (Unix time).

        When ``entries`` is the batch size there may be more: call again, after a pause that lets
        the workers write. Raises LocationError when the table cannot be written.
        """
        if not self._location.has_due(now_s):
            return Swept(0, 0)
        return self._location.write(partial(self._sweep, now_s))

    def _sweep(self, now_s: int, transaction: WriteTransaction) -> Swept:
        due = transaction.due(now_s, self._batch)
        removed = sum(_expire(transaction, second, key, now_s) for second, key in due)
        return Swept(len(due), removed)


def _expire(transaction: WriteTransaction, second: int, key: bytes, now_s: int) -> int:
    """Removes what has expired of one record and returns how many bindings that were."""
    try:
        record = transaction.load(key)
    except RecordError as error:
        # It stays for whoever can read it; without its entry the sweep can go on behind it.
        logger.error("record of %r cannot be read, not swept: %s", key, error)
        transaction.drop_entry(second, key)
        return 0
    if record is None or record.indexed_at_s != second:
        transaction.drop_entry(second, key)
        return 0
    live = tuple(binding for binding in record.bindings if binding.expires_at_s > now_s)
    removed = len(record.bindings) - len(live)
    if removed:
        transaction.store(key, record, live)
        record = record._replace(bindings=live)
    if live:
        transaction.reindex(key, record)
    return removed
