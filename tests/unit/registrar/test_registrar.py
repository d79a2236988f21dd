"""Registrar and committer: answers follow commits, in groups, and failures are answered too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lmdb
import pytest

from sipshard.registrar import committer as committer_module
from sipshard.registrar.location import MAX_AOR_BYTES, LocationService
from sipshard.registrar.registrar import Registrar
from sipshard.registrar.rules import Limits
from sipshard.registrar.transaction import WriteTransaction
from sipshard.sip import Request
from sipshard.testing import request
from tests.unit.fakes import Clock, FakeEngine, Responded

ALICE = "alice@example.com"


class FakeLoop:
    """A loop whose timers run when a test says so."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[..., Any]]] = []
        self.calls: list[Callable[[], Any]] = []
        self.called = threading.Semaphore(0)

    def call_later(self, delay: float, callback: Callable[..., Any], /) -> None:
        self.timers.append((delay, callback))

    def call_soon_threadsafe(self, callback: Callable[..., Any], /, *arguments: Any) -> None:
        self.calls.append(partial(callback, *arguments))
        self.called.release()

    def turn(self) -> None:
        """Runs the timers, waits for one group and delivers it."""
        while self.timers:
            self.timers.pop(0)[1]()
        assert self.called.acquire(timeout=10)
        self.calls.pop(0)()


class Fixture:
    """One worker's registrar on a fake engine and a fake loop."""

    def __init__(self, location: LocationService, clock: Clock) -> None:
        self.engine = FakeEngine()
        self.loop = FakeLoop()
        self.clock = clock
        self.location = location
        self.registrar = Registrar(
            self.engine, location, Limits(max_contacts=2), self.loop, window_s=0.002, clock=clock
        )
        self.registrar.start()

    def answer(self, message: Request) -> Responded:
        """Sends one REGISTER of alice and waits for its answer."""
        self.registrar.save(1, message, ALICE)
        if self.loop.timers:
            self.loop.turn()
        return self.engine.responses[-1]


@pytest.fixture
def fixture(location: LocationService, clock: Clock) -> Iterator[Fixture]:
    fixture = Fixture(location, clock)
    yield fixture
    fixture.registrar.stop()


def register(*contacts: str, headers: tuple[tuple[str, str], ...] = ()) -> Request:
    fields = [("Contact", contact) for contact in contacts]
    return request(
        "REGISTER", "sip:example.com", from_uri=f"sip:{ALICE}", headers=[*fields, *headers]
    )


class TestAnswer:
    """§10.3 step 8."""

    def test_it_lists_every_binding_with_its_remaining_time(self, fixture: Fixture) -> None:
        fixture.answer(register("<sip:a@192.0.2.1>;expires=100"))
        fixture.clock.advance(40)
        answer = fixture.answer(
            register('<sip:b@192.0.2.2>;q=0.25;expires=200;+sip.instance="<urn:uuid:1>";reg-id=2;x')
        )
        assert answer.status == 200
        assert answer.values("Contact") == [
            "<sip:a@192.0.2.1>;expires=60",
            '<sip:b@192.0.2.2>;expires=200;q=0.25;+sip.instance="<urn:uuid:1>";reg-id=2;x',
        ]

    def test_it_has_the_date(self, fixture: Fixture) -> None:
        answer = fixture.answer(register("<sip:a@192.0.2.1>"))
        assert answer.values("Date") == ["Fri, 15 Jan 2027 08:00:00 GMT"]
        fixture.clock.advance(1)
        assert fixture.answer(register()).values("Date") == ["Fri, 15 Jan 2027 08:00:01 GMT"]

    def test_asking_changes_nothing(self, fixture: Fixture) -> None:
        assert fixture.answer(register()).values("Contact") == []
        fixture.answer(register("<sip:a@192.0.2.1>;expires=100"))
        assert fixture.answer(register()).values("Contact") == ["<sip:a@192.0.2.1>;expires=100"]

    def test_removal_is_listed_as_absence(self, fixture: Fixture) -> None:
        fixture.answer(register("<sip:a@192.0.2.1>"))
        assert fixture.answer(register("<sip:a@192.0.2.1>;expires=0")).values("Contact") == []
        assert fixture.location.lookup(ALICE) == ()

    @pytest.mark.parametrize(
        ("supported", "echoed"), [(("Supported", "outbound, Path"), 1), ((), 0)]
    )
    def test_path_is_kept_always_and_repeated_to_those_who_support_it(
        self, fixture: Fixture, supported: tuple[str, str] | tuple[()], echoed: int
    ) -> None:
        """RFC 3327 §5.3"""
        extra = (("Path", "<sip:edge.example.net;lr>"), *([supported] if supported else []))
        answer = fixture.answer(register("<sip:a@192.0.2.1>", headers=extra))
        assert len(answer.values("Path")) == echoed
        assert len(fixture.location.lookup(ALICE)[0].path) == 1


class TestRefusal:
    def test_what_the_request_alone_shows_needs_no_commit(self, fixture: Fixture) -> None:
        answer = fixture.answer(register("<sip:a@192.0.2.1>;expires=1"))
        assert answer.status == 423
        assert answer.values("Min-Expires") == ["60"]
        assert not fixture.loop.timers

    def test_what_the_bindings_show_leaves_them_as_they_were(self, fixture: Fixture) -> None:
        fixture.answer(register("<sip:a@192.0.2.1>", "<sip:b@192.0.2.1>"))
        assert fixture.answer(register("<sip:c@192.0.2.1>")).status == 403
        assert len(fixture.location.lookup(ALICE)) == 2

    def test_a_name_that_is_too_long_is_403(self, fixture: Fixture) -> None:
        fixture.registrar.save(1, register(), "a" * (MAX_AOR_BYTES + 1))
        assert fixture.engine.responses[-1].status == 403


class TestGroups:
    def test_one_timer_one_commit_and_one_wake_up_for_a_group(
        self, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commits = []
        really_finish = WriteTransaction.finish

        def finish(self: WriteTransaction) -> None:
            commits.append(1)
            really_finish(self)

        monkeypatch.setattr(WriteTransaction, "finish", finish)
        for number in range(20):
            fixture.registrar.save(number, register(f"<sip:{number}@192.0.2.1>"), f"u{number}@x")
        assert [delay for delay, _ in fixture.loop.timers] == [0.002]
        assert fixture.engine.responses == []
        fixture.loop.turn()
        assert [each.transaction_id for each in fixture.engine.responses] == list(range(20))
        assert len(commits) == 1
        assert not fixture.loop.calls

    def test_updates_of_one_name_in_one_group_see_each_other(self, fixture: Fixture) -> None:
        fixture.registrar.save(1, register("<sip:a@192.0.2.1>"), ALICE)
        fixture.registrar.save(2, register("<sip:b@192.0.2.1>"), ALICE)
        fixture.registrar.save(3, register("<sip:c@192.0.2.1>"), ALICE)
        fixture.loop.turn()
        assert [each.status for each in fixture.engine.responses] == [200, 200, 403]
        assert len(fixture.engine.responses[1].values("Contact")) == 2

    def test_nothing_is_answered_before_the_commit(
        self, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """When the answer leaves, another process sees the binding."""
        seen = []
        really_respond = fixture.engine.respond

        def respond(*given: Any) -> bool:
            seen.append(len(fixture.location.lookup(ALICE)))
            return really_respond(*given)

        monkeypatch.setattr(fixture.engine, "respond", respond)
        fixture.answer(register("<sip:a@192.0.2.1>"))
        assert seen == [1]

    def test_beyond_the_bound_there_is_503(
        self, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(committer_module, "MAX_WAITING", 2)
        for number in range(3):
            fixture.registrar.save(number, register("<sip:a@192.0.2.1>"), ALICE)
        assert [each.status for each in fixture.engine.responses] == [503]
        assert fixture.engine.responses[0].values("Retry-After") == ["5"]
        fixture.loop.turn()
        assert [each.status for each in fixture.engine.responses] == [503, 200, 200]

    def test_a_large_group_is_cut_so_that_others_may_write(
        self, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(committer_module, "MAX_GROUP", 2)
        for number in range(5):
            fixture.registrar.save(number, register("<sip:a@192.0.2.1>"), f"u{number}@x")
        for _ in range(3):
            fixture.loop.turn()
        assert [each.status for each in fixture.engine.responses] == [200] * 5

    def test_stopping_writes_what_waits(self, location: LocationService, clock: Clock) -> None:
        fixture = Fixture(location, clock)
        fixture.registrar.save(1, register("<sip:a@192.0.2.1>"), ALICE)
        fixture.registrar.stop()
        assert location.lookup(ALICE)
        fixture.loop.calls.pop()()
        assert fixture.engine.responses[0].status == 200


class TestTrouble:
    """A full disk or an unwritable path: REGISTER gets 500 and the server goes on."""

    def test_a_write_that_fails_is_500_for_its_group_and_counted(
        self, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(self: WriteTransaction) -> None:
            raise lmdb.DiskError("mdb_txn_commit: No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(WriteTransaction, "finish", full)
            fixture.registrar.save(1, register("<sip:a@192.0.2.1>"), ALICE)
            fixture.registrar.save(2, register("<sip:b@192.0.2.1>"), "bob@example.com")
            fixture.loop.turn()
        assert [each.status for each in fixture.engine.responses] == [500, 500]
        assert fixture.engine.counters == {"location_write_failures": 2}
        assert fixture.location.lookup(ALICE) == ()
        assert fixture.answer(register("<sip:a@192.0.2.1>")).status == 200
        assert fixture.engine.counters == {"location_write_failures": 2, "bindings_saved": 1}

    def test_a_path_that_cannot_be_made_is_500(self, tmp_path: Path, clock: Clock) -> None:
        (tmp_path / "file").write_text("in the way")
        location = LocationService(tmp_path / "file" / "location", clock=clock)
        fixture = Fixture(location, clock)
        assert fixture.answer(register("<sip:a@192.0.2.1>")).status == 500
        assert fixture.answer(register("<sip:a@192.0.2.1>")).status == 500
        fixture.registrar.stop()
        location.close()

    def test_a_mistake_of_ours_costs_its_group_only(
        self, fixture: Fixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(committer_module, "apply", lambda *given: 1 // 0)
            assert fixture.answer(register("<sip:a@192.0.2.1>")).status == 500
        assert fixture.answer(register("<sip:a@192.0.2.1>")).status == 200

    def test_a_damaged_record_costs_its_owner_only(self, fixture: Fixture) -> None:
        fixture.location.write(
            lambda t: t._transaction.put(b"bad@x", b"junk", db=t._databases.registrations)
        )
        fixture.registrar.save(1, register("<sip:a@192.0.2.1>"), "bad@x")
        fixture.registrar.save(2, register("<sip:a@192.0.2.1>"), ALICE)
        fixture.loop.turn()
        assert [each.status for each in fixture.engine.responses] == [500, 200]
