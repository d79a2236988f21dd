"""The location table: what is written is found, by everyone, and trouble stays small."""

from __future__ import annotations

import multiprocessing
import os
import resource
from pathlib import Path
from typing import Any

import lmdb
import pytest

from sipshard.registrar import location as location_module
from sipshard.registrar.binding import Binding
from sipshard.registrar.location import MAX_AOR_BYTES, LocationError, LocationService, aor_key
from sipshard.registrar.transaction import WriteTransaction
from sipshard.sip import Uri
from tests.unit.fakes import Clock

ALICE = "alice@example.com"


def bound(
    clock: Clock, uri: str = "sip:a@192.0.2.1", *, left_s: int = 60, q: int = 1000
) -> Binding:
    return Binding(uri, q, int(clock()) + left_s, "call", 1)


def put(location: LocationService, aor: str, *bindings: Binding) -> None:
    key = aor_key(aor)

    def work(transaction: WriteTransaction) -> None:
        transaction.store(key, transaction.load(key), bindings)

    location.write(work)


def fill(location: LocationService, count: int) -> None:
    """Writes ``count`` records of about 500 bytes, each in a transaction of its own."""
    for number in range(count):
        put(location, f"user{number}@{'p' * 300}", bound(Clock(2**32)))


def indexed(location: LocationService) -> list[tuple[int, bytes]]:
    return location.write(lambda transaction: transaction.due(2**40, 1000))


class TestLookup:
    def test_by_uri_and_by_text(self, location: LocationService, clock: Clock) -> None:
        binding = bound(clock)
        put(location, ALICE, binding)
        assert location.lookup(ALICE) == (binding,)
        assert location.lookup("sip:alice@EXAMPLE.com:5070;transport=tcp") == (binding,)
        assert location.lookup(Uri.parse("sips:%61lice@example.com")) == (binding,)
        assert location.lookup("Alice@example.com") == ()

    def test_text_that_is_no_uri_is_an_error(self, location: LocationService) -> None:
        with pytest.raises(ValueError, match="sip:"):
            location.lookup("sip:")

    def test_preferred_ones_come_first(self, location: LocationService, clock: Clock) -> None:
        low, high = bound(clock, "sip:low@192.0.2.1", q=100), bound(clock, "sip:high@192.0.2.1")
        put(location, ALICE, low, high)
        assert location.lookup(ALICE) == (high, low)

    def test_expired_ones_are_not_found(self, location: LocationService, clock: Clock) -> None:
        put(location, ALICE, bound(clock), bound(clock, "sip:b@192.0.2.1", left_s=61))
        clock.advance(60)
        assert [each.uri for each in location.lookup(ALICE)] == ["sip:b@192.0.2.1"]
        clock.advance(1)
        assert location.lookup(ALICE) == ()

    def test_what_cannot_be_a_key_is_not_found(self, location: LocationService) -> None:
        assert location.lookup("a" * MAX_AOR_BYTES + "@example.com") == ()

    def test_bytes_that_are_no_utf8_are_a_name_like_others(
        self, location: LocationService, clock: Clock
    ) -> None:
        put(location, "al\udcffice@example.com", bound(clock))
        assert location.lookup("al\udcffice@example.com")

    def test_a_damaged_record_is_not_found(self, location: LocationService) -> None:
        location.write(lambda t: t._transaction.put(b"x@y", b"junk", db=t._databases.registrations))
        assert location.lookup("x@y") == ()


class TestPage:
    def test_pages_follow_each_other(self, location: LocationService, clock: Clock) -> None:
        names = [f"user{number}@example.com" for number in range(5)]
        for name in names:
            put(location, name, bound(clock))
        first = location.page(limit=3)
        assert [name for name, _ in first] == names[:3]
        assert [name for name, _ in location.page(after=first[-1][0])] == names[3:]
        clock.advance(60)
        assert location.page() == []


class TestIndex:
    """The expiry index and the count change with the records."""

    def test_a_refresh_leaves_the_index_alone(
        self, location: LocationService, clock: Clock
    ) -> None:
        put(location, ALICE, bound(clock))
        before = indexed(location)
        clock.advance(30)
        put(location, ALICE, bound(clock))
        assert indexed(location) == before == [(int(clock()) + 30, ALICE.encode())]

    def test_an_earlier_expiry_moves_it(self, location: LocationService, clock: Clock) -> None:
        put(location, ALICE, bound(clock))
        put(location, ALICE, bound(clock, left_s=10))
        assert indexed(location) == [(int(clock()) + 10, ALICE.encode())]

    def test_the_last_binding_takes_it_away(self, location: LocationService, clock: Clock) -> None:
        put(location, ALICE, bound(clock))
        put(location, ALICE)
        assert indexed(location) == []
        assert location.statistics().aors == location.statistics().bindings == 0

    def test_the_count_follows(self, location: LocationService, clock: Clock) -> None:
        put(location, ALICE, bound(clock), bound(clock, "sip:b@192.0.2.1"))
        put(location, "bob@example.com", bound(clock))
        put(location, ALICE, bound(clock))
        assert (location.statistics().aors, location.statistics().bindings) == (2, 2)

    def test_work_that_raises_leaves_nothing(self, location: LocationService, clock: Clock) -> None:
        def work(transaction: WriteTransaction) -> None:
            transaction.store(b"x@y", None, (bound(clock),))
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            location.write(work)
        assert indexed(location) == []
        assert location.lookup("x@y") == ()


class TestGrowth:
    def test_a_full_map_grows(self, tmp_path: Path, clock: Clock) -> None:
        location = LocationService(tmp_path, durability="process", map_size_bytes=1 << 18)
        fill(location, 2000)
        assert location.statistics().aors == 2000
        assert location.lookup(f"user1999@{'p' * 300}")
        location.close()

    def test_a_map_that_another_process_has_grown_is_followed(self, tmp_path: Path) -> None:
        """Both for reading and for writing."""
        reader = LocationService(tmp_path, durability="process", map_size_bytes=1 << 18)
        put(reader, ALICE, bound(Clock(2**32)))
        child = multiprocessing.get_context("spawn").Process(target=_fill, args=(tmp_path,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert reader.lookup(ALICE)
        assert reader.lookup(f"user1999@{'p' * 300}")
        put(reader, "after@example.com", bound(Clock(2**32)))
        assert reader.lookup("after@example.com")
        reader.close()

    def test_a_map_that_cannot_grow_is_an_error(
        self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        location = LocationService(tmp_path, durability="process", map_size_bytes=1 << 18)
        monkeypatch.setattr(location, "_grow", lambda environment: None)
        with pytest.raises(LocationError, match="full"):
            fill(location, 2000)
        assert location.lookup(f"user0@{'p' * 300}")
        location.close()


def _fill(folder: Path) -> None:
    location = LocationService(folder, durability="process", map_size_bytes=1 << 18)
    fill(location, 2000)
    location.close()


class TestTrouble:
    """A full disk, an unwritable path: lookups go on as far as they can, writes say why not."""

    def test_a_path_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        location = LocationService(tmp_path / "file" / "location")
        assert location.lookup(ALICE) == ()
        assert location.page() == []
        assert location.statistics().state == "failed"
        assert "Not a directory" in location.statistics().error
        with pytest.raises(LocationError, match="Not a directory"):
            put(location, ALICE)
        assert location.reader_check() == 0
        location.close()

    def test_it_recovers_when_the_path_does(
        self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(location_module, "RETRY_INTERVAL_S", 0.0)
        blocker = tmp_path / "file"
        blocker.write_text("in the way")
        location = LocationService(blocker / "location", clock=clock, map_size_bytes=1 << 20)
        blocker.unlink()
        put(location, ALICE, bound(clock))
        assert location.lookup(ALICE)
        assert location.statistics().state == "ok"
        assert location.statistics().error == ""
        location.close()

    def test_what_may_only_be_read_is_read_and_tried_again(
        self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(location_module, "RETRY_INTERVAL_S", 0.0)
        first = LocationService(tmp_path, clock=clock, map_size_bytes=1 << 20)
        put(first, ALICE, bound(clock))
        first.close()
        really_open = lmdb.open

        def open_on_a_read_only_disk(*given: Any, **named: Any) -> lmdb.Environment:
            if not named["readonly"]:
                raise lmdb.ReadonlyError(str(tmp_path), 30)
            return really_open(*given, **named)

        with monkeypatch.context() as patch:
            patch.setattr(lmdb, "open", open_on_a_read_only_disk)
            location = LocationService(tmp_path, clock=clock, map_size_bytes=1 << 20)
            assert location.lookup(ALICE)
            assert location.statistics().state == "read-only"
            with pytest.raises(LocationError):
                put(location, "bob@example.com", bound(clock))
            assert location.lookup(ALICE)
        put(location, "bob@example.com", bound(clock))
        assert location.statistics().state == "ok"
        location.close()

    def test_a_full_disk_fails_the_write_and_nothing_else(
        self, location: LocationService, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        put(location, ALICE, bound(clock))

        def full(self: WriteTransaction) -> None:
            raise lmdb.DiskError("mdb_txn_commit: No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(WriteTransaction, "finish", full)
            with pytest.raises(LocationError, match="No space left"):
                put(location, "bob@example.com", bound(clock))
            assert location.statistics().state == "read-only"
        assert location.lookup(ALICE)
        assert location.lookup("bob@example.com") == ()
        put(location, "bob@example.com", bound(clock))
        assert location.statistics().state == "ok"

    def test_a_file_that_may_not_grow_fails_the_write_and_recovers(
        self, location: LocationService, clock: Clock
    ) -> None:
        """A real refusal by the kernel, in the middle of LMDB's own writing."""
        put(location, ALICE, bound(clock))
        data = Path(location._path / "data.mdb")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (data.stat().st_size, hard))
        try:
            with pytest.raises(LocationError, match="too large"):
                fill(location, 200)
            assert location.lookup(ALICE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        put(location, "bob@example.com", bound(clock))
        assert location.lookup("bob@example.com")
        assert location.statistics().state == "ok"

    def test_a_file_that_is_no_table(self, tmp_path: Path) -> None:
        (tmp_path / "data.mdb").write_bytes(os.urandom(8192))
        location = LocationService(tmp_path)
        assert location.statistics().state == "failed"
        assert location.lookup(ALICE) == ()
        location.close()

    def test_a_reader_without_a_table_waits_for_one(
        self, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(location_module, "RETRY_INTERVAL_S", 0.0)
        reader = LocationService(tmp_path, read_only=True, clock=clock)
        assert reader.lookup(ALICE) == ()
        child = multiprocessing.get_context("spawn").Process(target=_fill, args=(tmp_path,))
        child.start()
        child.join()
        assert reader.lookup(f"user1@{'p' * 300}")
        with pytest.raises(LocationError, match="reading only"):
            put(reader, ALICE, bound(clock))
        reader.close()
