"""The sweep removes what has run out, and only that."""

from __future__ import annotations

from sipshard.registrar.binding import Binding
from sipshard.registrar.expiry import Sweeper, Swept
from sipshard.registrar.location import LocationService
from sipshard.registrar.transaction import SECOND, WriteTransaction
from tests.unit.fakes import Clock

KEY = b"alice@example.com"


def put(location: LocationService, key: bytes, *expiries_s: int) -> None:
    bindings = tuple(
        Binding(f"sip:{number}@192.0.2.1", 1000, expires_s, "call", 1)
        for number, expires_s in enumerate(expiries_s)
    )

    def work(transaction: WriteTransaction) -> None:
        transaction.store(key, transaction.load(key), bindings)

    location.write(work)


def indexed(location: LocationService) -> list[tuple[int, bytes]]:
    return location.write(lambda transaction: transaction.due(2**40, 1000))


def test_nothing_is_due_before_its_second(location: LocationService, clock: Clock) -> None:
    now_s = int(clock())
    put(location, KEY, now_s + 10)
    assert Sweeper(location).sweep(now_s + 9) == Swept(0, 0)
    assert Sweeper(location).sweep(now_s + 10) == Swept(1, 1)
    assert location.statistics().aors == location.statistics().bindings == 0
    assert indexed(location) == []


def test_live_bindings_stay_and_are_indexed_anew(location: LocationService, clock: Clock) -> None:
    now_s = int(clock())
    put(location, KEY, now_s + 10, now_s + 20, now_s + 30)
    assert Sweeper(location).sweep(now_s + 10) == Swept(1, 1)
    assert indexed(location) == [(now_s + 20, KEY)]
    assert location.statistics().bindings == 2
    assert Sweeper(location).sweep(now_s + 30) == Swept(1, 2)
    assert indexed(location) == []


def test_a_refreshed_record_is_only_moved(location: LocationService, clock: Clock) -> None:
    now_s = int(clock())
    put(location, KEY, now_s + 10)
    put(location, KEY, now_s + 100)
    assert indexed(location) == [(now_s + 10, KEY)]
    assert Sweeper(location).sweep(now_s + 10) == Swept(1, 0)
    assert indexed(location) == [(now_s + 100, KEY)]
    assert Sweeper(location).sweep(now_s + 99) == Swept(0, 0)


def test_a_mass_expiry_goes_in_batches(location: LocationService, clock: Clock) -> None:
    now_s = int(clock())
    for number in range(25):
        put(location, b"user%d@example.com" % number, now_s)
    sweeper = Sweeper(location, batch=10)
    assert [sweeper.sweep(now_s) for _ in range(4)] == [
        Swept(10, 10),
        Swept(10, 10),
        Swept(5, 5),
        Swept(0, 0),
    ]


def test_an_entry_without_its_record_is_dropped(location: LocationService, clock: Clock) -> None:
    entry = SECOND.pack(int(clock())) + KEY
    location.write(lambda t: t._transaction.put(entry, b"", db=t._databases.expiry))
    assert Sweeper(location).sweep(int(clock())) == Swept(1, 0)
    assert indexed(location) == []


def test_a_record_that_cannot_be_read_does_not_stop_the_sweep(
    location: LocationService, clock: Clock
) -> None:
    now_s = int(clock())
    put(location, KEY, now_s)
    put(location, b"zoe@example.com", now_s)
    location.write(lambda t: t._transaction.put(KEY, b"junk", db=t._databases.registrations))
    assert Sweeper(location).sweep(now_s) == Swept(2, 1)
    assert indexed(location) == []
