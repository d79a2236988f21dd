"""Decisions become calls of the engine; mistakes of a policy become one 500 each."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sipshard import (
    Add,
    Body,
    Destination,
    Edit,
    Forward,
    ForwardStateless,
    Redirect,
    Reject,
    Remove,
    Replace,
    Request,
    Respond,
    Response,
    Router,
    Save,
    Target,
    Uri,
)
from sipshard.proxy.execution import Execution
from sipshard.testing import FakeBinding, FakeLocation, request, response
from tests.unit.fakes import FakeEngine, Forwarded, Responded

BINDING = FakeBinding("sip:bob@192.0.2.7", 500, ("<sip:edge.example.net;lr>",), "f1")
LOCATION = FakeLocation({"bob@example.com": [BINDING]})


class Fixture:
    """One worker's execution with one handler for INVITE and REGISTER."""

    def __init__(self, handler: Callable[..., object]) -> None:
        self.engine = FakeEngine()
        self.saved: list[tuple[int, str]] = []
        self.loop = asyncio.new_event_loop()
        router = Router()
        router.request("INVITE", "REGISTER")(handler)
        services = {"location": LOCATION, "server": None}
        self.execution = Execution(
            self.engine, self, router, services, self.loop, max_suspended=2, max_forward_handlers=2
        )

    def save(self, transaction_id: int, request: Request, aor: str) -> None:
        self.saved.append((transaction_id, aor))

    def handle(self, *events: tuple[str, int, Request | None, Response | None]) -> None:
        """Gives events to the execution in the running loop, then lets the loop turn."""
        self.loop.call_soon(self.execution.handle, events)
        for _ in range(6):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def ask(self, number: int = 1, method: str = "INVITE") -> None:
        self.handle(("request", number, request(method), None))

    def fail(self, number: int = 1, status: int = 486) -> None:
        call = request()
        self.handle(("failure", number, call, response(status, call)))


@pytest.fixture
def make() -> Iterator[Callable[[Callable[..., object]], Fixture]]:
    made: list[Fixture] = []

    def build(handler: Callable[..., object]) -> Fixture:
        made.append(Fixture(handler))
        return made[-1]

    yield build
    for fixture in made:
        fixture.execution.close()
        fixture.handle()
        fixture.loop.close()


Make = Callable[[Callable[..., object]], Fixture]


class TestForwardStateless:
    """RFC 3261 §16.11"""

    def test_it_goes_to_its_target(self, make: Make) -> None:
        fixture = make(lambda request: ForwardStateless(BINDING))
        fixture.ask()
        expected = (BINDING.uri, 500, BINDING.path, BINDING.flow, None, ())
        assert fixture.engine.stateless == [(1, expected)]
        assert not fixture.engine.forwards

    def test_strays_are_asked_about_by_those_who_handle_both(self) -> None:
        router = Router()
        router.request("INVITE", "CANCEL")(lambda request: Reject(481))
        assert not router.handles_strays
        router.request("ACK")(lambda request: Reject(481))
        assert router.handles_strays


class TestMergedRequests:
    """RFC 3261 §8.2.2.2"""

    @pytest.mark.parametrize("decision", [Save("a@example.com"), Respond(200)])
    def test_what_is_answered_here_is_answered_once(self, make: Make, decision: Any) -> None:
        fixture = make(lambda request: decision)
        fixture.engine.merged.add(2)
        fixture.ask(1, "REGISTER")
        fixture.ask(2, "REGISTER")
        answered = [response.transaction_id for response in fixture.engine.responses]
        assert [*answered, *(number for number, _ in fixture.saved)] == [1]

    def test_what_is_forwarded_is_not_asked_about(self, make: Make) -> None:
        fixture = make(lambda request: Forward("sip:a@192.0.2.1"))
        fixture.engine.merged.add(1)
        fixture.ask(1)
        assert len(fixture.engine.forwards) == 1


class TestForward:
    def test_recursion_is_asked_for(self, make: Make) -> None:
        fixture = make(lambda request: Forward("sip:a@192.0.2.1", recurse=True))
        fixture.ask()
        assert fixture.engine.forwards[0].recurse

    @pytest.mark.parametrize(
        ("targets", "expected"),
        [
            ("sip:a@192.0.2.1", [("sip:a@192.0.2.1", 1000, (), None, None, ())]),
            (Uri.parse("sip:a@192.0.2.1;lr"), [("sip:a@192.0.2.1;lr", 1000, (), None, None, ())]),
            (BINDING, [(BINDING.uri, 500, BINDING.path, BINDING.flow, None, ())]),
            (
                [BINDING, "sip:a@192.0.2.1"],
                [
                    (BINDING.uri, 500, BINDING.path, BINDING.flow, None, ()),
                    ("sip:a@192.0.2.1", 1000, (), None, None, ()),
                ],
            ),
            ((BINDING,), [(BINDING.uri, 500, BINDING.path, BINDING.flow, None, ())]),
        ],
        ids=["text", "uri", "binding", "several", "tuple"],
    )
    def test_every_kind_of_target(self, make: Make, targets: Any, expected: Any) -> None:
        fixture = make(lambda request: Forward(targets))
        fixture.ask()
        assert fixture.engine.forwards == [Forwarded(1, expected, False, None, False)]

    def test_its_options_reach_the_engine(self, make: Make) -> None:
        def handler(request: Request, location: FakeLocation) -> Forward:
            bindings = location.lookup(request.uri)
            return Forward(
                bindings, record_route=True, ring_timeout=30, on_failure=lambda q, r: None
            )

        fixture = make(handler)
        fixture.ask()
        expected = [(BINDING.uri, 500, BINDING.path, BINDING.flow, None, ())]
        assert fixture.engine.forwards == [Forwarded(1, expected, True, 30, True)]

    def test_a_target_with_settings_of_its_own(self, make: Make) -> None:
        targets: list[Destination] = [
            Target(BINDING, ring_timeout=5, edits=[Remove("X-B")]),
            Target("sip:a@192.0.2.1", q=0.25, route=["<sip:gw.example.net;lr>"]),
            Target(BINDING, q=1, route=()),
            "sip:c@192.0.2.3",
        ]
        fixture = make(lambda request: Forward(targets, edits=[Add("X-A", "1")]))
        fixture.ask()
        added = ("add", "X-A", "1")
        assert fixture.engine.forwards[0].targets == [
            (BINDING.uri, 500, BINDING.path, BINDING.flow, 5, (added, ("remove", "X-B", ""))),
            ("sip:a@192.0.2.1", 250, ("<sip:gw.example.net;lr>",), None, None, (added,)),
            (BINDING.uri, 1000, (), BINDING.flow, None, (added,)),
            ("sip:c@192.0.2.3", 1000, (), None, None, (added,)),
        ]

    def test_every_kind_of_edit(self, make: Make) -> None:
        edits: list[Edit] = [
            Add("X", "1"),
            Remove("Y"),
            Replace("Z", "2"),
            Body(b"b", "text/plain"),
        ]
        fixture = make(lambda request: Forward("sip:a@b", edits=edits, response_edits=edits))
        fixture.ask()
        plain = [
            ("add", "X", "1"),
            ("remove", "Y", ""),
            ("replace", "Z", "2"),
            ("body", "text/plain", b"b"),
        ]
        (forwarded,) = fixture.engine.forwards
        assert list(forwarded.targets[0][5]) == plain
        assert forwarded.responses == (plain, False)

    def test_an_edit_that_is_none_is_500(self, make: Make) -> None:
        fixture = make(lambda request: Forward("sip:a@b", edits=["X: y"]))  # type: ignore[list-item]
        fixture.ask()
        assert [each.status for each in fixture.engine.responses] == [500]

    def test_an_empty_target_set_is_480(self, make: Make) -> None:
        """RFC 3261 §16.5"""
        fixture = make(lambda request: Forward(()))
        fixture.ask()
        assert [each.status for each in fixture.engine.responses] == [480]

    @pytest.mark.parametrize("targets", ["no uri", [1], 1, None])
    def test_an_unusable_target_is_500(self, make: Make, targets: Any) -> None:
        fixture = make(lambda request: Forward(targets))
        fixture.ask()
        assert [each.status for each in fixture.engine.responses] == [500]
        assert fixture.engine.counters == {"policy_errors": 1}


class TestAnswers:
    @pytest.mark.parametrize(
        ("decision", "expected"),
        [
            (Reject(480), Responded(1, 480, None, [], b"")),
            (
                Reject(503, "Busy", [("Retry-After", "5")]),
                Responded(1, 503, "Busy", [("Retry-After", "5")], b""),
            ),
            (
                Respond(200, headers=(("X", "y"),), body=b"z"),
                Responded(1, 200, None, [("X", "y")], b"z"),
            ),
            (
                Redirect("sip:a@192.0.2.1"),
                Responded(1, 302, None, [("Contact", "<sip:a@192.0.2.1>")], b""),
            ),
            (
                Redirect("sip:a@b", headers=[("Reason", "SIP;cause=302")]),
                Responded(
                    1, 302, None, [("Contact", "<sip:a@b>"), ("Reason", "SIP;cause=302")], b""
                ),
            ),
            (
                Redirect(["sip:a@b", Uri.parse("sip:c@d")], code=300),
                Responded(1, 300, None, [("Contact", "<sip:a@b>"), ("Contact", "<sip:c@d>")], b""),
            ),
        ],
    )
    def test_each_kind(self, make: Make, decision: object, expected: Responded) -> None:
        fixture = make(lambda request: decision)
        fixture.ask()
        assert fixture.engine.responses == [expected]

    def test_save_goes_to_the_registrar(self, make: Make) -> None:
        fixture = make(lambda request: Save("alice@example.com"))
        fixture.ask(7, "REGISTER")
        assert fixture.saved == [(7, "alice@example.com")]
        assert fixture.engine.responses == []

    def test_a_method_without_a_handler_is_405_with_allow(self, make: Make) -> None:
        """RFC 3261 §8.2.1"""
        fixture = make(lambda request: Reject(480))
        fixture.ask(method="PUBLISH")
        assert fixture.engine.responses == [
            Responded(1, 405, None, [("Allow", "INVITE, REGISTER")], b"")
        ]


class TestMistakes:
    @pytest.mark.parametrize(
        "mistake",
        [
            lambda request: None,
            lambda request: 404,
            lambda request: "sip:a@b",
            lambda request: 1 // 0,
            lambda request: Reject(480, headers=[("X", "a\r\nEvil: b")]),
        ],
        ids=["none", "number", "text", "raising", "header-injection"],
    )
    def test_each_costs_its_request_and_no_other(
        self, make: Make, mistake: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        answers = iter([mistake, lambda request: Reject(480)])
        fixture = make(lambda request: next(answers)(request))
        with caplog.at_level(logging.ERROR, "sipshard"):
            fixture.handle(("request", 1, request(), None), ("request", 2, request(), None))
        assert [(each.transaction_id, each.status) for each in fixture.engine.responses] == [
            (1, 500),
            (2, 480),
        ]
        (record,) = caplog.records
        assert record.exc_info is not None
        assert "policy failed for INVITE" in record.getMessage()

    def test_a_coroutine_that_raises_later(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(request: Request) -> Reject:
            await asyncio.sleep(0)
            raise LookupError("in the policy")

        fixture = make(handler)
        with caplog.at_level(logging.ERROR, "sipshard"):
            fixture.ask()
        assert [each.status for each in fixture.engine.responses] == [500]
        assert "in the policy" in caplog.text

    def test_a_coroutine_that_cancels_itself(self, make: Make) -> None:
        async def handler(request: Request) -> Reject:
            await asyncio.sleep(0)
            raise asyncio.CancelledError

        fixture = make(handler)
        fixture.ask()
        assert [each.status for each in fixture.engine.responses] == [500]

    def test_too_many_waiting_are_503(self, make: Make) -> None:
        async def handler(request: Request) -> Reject:
            await asyncio.Event().wait()
            return Reject(480)

        fixture = make(handler)
        fixture.handle(*[("request", number, request(), None) for number in range(3)])
        assert fixture.engine.responses == [Responded(2, 503, None, [("Retry-After", "5")], b"")]
        assert fixture.execution.suspended == 2


class TestSuspended:
    def test_the_decision_comes_later(self, make: Make) -> None:
        async def handler(request: Request) -> Reject:
            await asyncio.sleep(0)
            return Reject(486)

        fixture = make(handler)
        fixture.ask()
        assert [each.status for each in fixture.engine.responses] == [486]

    def test_a_caller_who_hangs_up_needs_no_decision(self, make: Make) -> None:
        ended: list[str] = []

        async def handler(request: Request) -> Reject:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cleaned up")
            return Reject(480)

        fixture = make(handler)
        fixture.ask()
        fixture.handle(("cancelled", 1, request(), None))
        assert ended == ["cleaned up"]
        assert fixture.engine.responses == []
        assert fixture.execution.suspended == 0


class TestFailure:
    def forwarded(self, make: Make, on_failure: Callable[..., object]) -> Fixture:
        fixture = make(lambda request: Forward("sip:a@192.0.2.1", on_failure=on_failure))
        fixture.ask()
        return fixture

    def test_none_passes_the_response_on(self, make: Make) -> None:
        fixture = self.forwarded(make, lambda request, response: None)
        fixture.fail()
        assert fixture.engine.passed_on == [1]

    def test_another_target_is_tried(self, make: Make) -> None:
        def voicemail(request: Request, response: Response, location: object) -> Forward | None:
            assert location is LOCATION
            return Forward("sip:voicemail@192.0.2.9") if response.status == 486 else None

        fixture = self.forwarded(make, voicemail)
        fixture.fail()
        assert [each.targets[0][0] for each in fixture.engine.forwards] == [
            "sip:a@192.0.2.1",
            "sip:voicemail@192.0.2.9",
        ]
        assert not fixture.engine.forwards[1].report_failure

    def test_a_chain_of_three_each_with_edits_of_its_own(self, make: Make) -> None:
        """Issue: a waiting on_failure may forward again, with other edits and another handler."""

        async def second(request: Request, response: Response) -> Forward:
            await asyncio.sleep(0)
            return Forward("sip:second@b", edits=[Add("X-Try", "2")], on_failure=third)

        async def third(request: Request, response: Response, location: object) -> Forward:
            await asyncio.sleep(0)
            assert location is LOCATION
            return Forward("sip:third@b", edits=[Add("X-Try", "3")], on_failure=last)

        async def last(request: Request, response: Response) -> Reject:
            await asyncio.sleep(0)
            return Reject(response.status, "Third Of Three")

        fixture = self.forwarded(make, second)
        for status in (486, 408, 404):
            fixture.fail(status=status)
        assert [(each.targets[0][0], each.targets[0][5]) for each in fixture.engine.forwards] == [
            ("sip:a@192.0.2.1", ()),
            ("sip:second@b", (("add", "X-Try", "2"),)),
            ("sip:third@b", (("add", "X-Try", "3"),)),
        ]
        assert fixture.engine.responses == [Responded(1, 404, "Third Of Three", [], b"")]

    def test_a_caller_who_hangs_up_cancels_the_handler_that_waits(self, make: Make) -> None:
        ended: list[str] = []

        async def handler(request: Request, response: Response) -> Forward:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cleaned up")
            return Forward("sip:late@b")

        fixture = self.forwarded(make, handler)
        fixture.fail()
        fixture.handle(("cancelled", 1, request(), None))
        assert ended == ["cleaned up"]
        assert len(fixture.engine.forwards) == 1
        assert fixture.engine.responses == [] and fixture.engine.passed_on == []
        assert fixture.execution.suspended == 0

    def test_a_coroutine_that_waits_may_pass_on_too(self, make: Make) -> None:
        async def handler(request: Request, response: Response) -> None:
            await asyncio.sleep(0)

        fixture = self.forwarded(make, handler)
        fixture.fail()
        assert fixture.engine.passed_on == [1]

    def test_one_that_raises_is_500(self, make: Make) -> None:
        fixture = self.forwarded(make, lambda request, response: 1 // 0)
        fixture.fail()
        assert [each.status for each in fixture.engine.responses] == [500]

    def test_one_with_unknown_parameters_is_500(self, make: Make) -> None:
        fixture = self.forwarded(make, lambda request, response, database: None)
        fixture.fail()
        assert [each.status for each in fixture.engine.responses] == [500]

    def test_it_is_asked_once(self, make: Make) -> None:
        asked: list[int] = []
        fixture = self.forwarded(make, lambda request, response: asked.append(response.status))
        fixture.fail()
        fixture.fail()
        assert asked == [486]
        assert fixture.engine.passed_on == [1, 1]

    def test_a_call_that_was_answered_leaves_nothing_behind(self, make: Make) -> None:
        fixture = self.forwarded(make, lambda request, response: Reject(404))
        fixture.handle(("settled", 1, None, None))
        fixture.fail()
        assert fixture.engine.passed_on == [1]

    def test_what_is_over_is_forgotten(self, make: Make) -> None:
        fixture = self.forwarded(make, lambda request, response: Reject(500))
        fixture.handle(("cancelled", 1, request(), None))
        fixture.fail()
        assert fixture.engine.passed_on == [1]

    def test_beyond_the_bound_the_oldest_is_passed_on(self, make: Make) -> None:
        fixture = make(
            lambda request: Forward("sip:a@192.0.2.1", on_failure=lambda q, r: Reject(600))
        )
        for number in (1, 2, 3):
            fixture.ask(number)
        for number in (1, 2, 3):
            fixture.fail(number)
        assert fixture.engine.passed_on == [1]
        assert [each.transaction_id for each in fixture.engine.responses] == [2, 3]


class TestResponses:
    def asked(self, make: Make, on_response: Callable[..., Any], status: int = 180) -> Fixture:
        fixture = make(lambda request: Forward("sip:a@192.0.2.1", on_response=on_response))
        fixture.ask()
        self.show(fixture, status)
        return fixture

    def show(self, fixture: Fixture, status: int = 180, number: int = 1) -> None:
        call = request()
        fixture.handle(("inspection", number, call, response(status, call)))

    def test_the_engine_asks_only_for_who_wants_it(self, make: Make) -> None:
        fixture = self.asked(make, lambda request, response: None)
        (forwarded,) = fixture.engine.forwards
        assert (forwarded.report_failure, forwarded.responses) == (False, ([], True))

    def test_each_response_is_shown_and_may_be_edited(self, make: Make) -> None:
        def handler(request: Request, response: Response, location: object) -> list[Edit] | None:
            assert location is LOCATION
            return [Remove("Server")] if response.status == 180 else None

        fixture = self.asked(make, handler)
        self.show(fixture, 200)
        assert fixture.engine.inspections == [(1, [("remove", "Server", "")]), (1, [])]

    @pytest.mark.parametrize(
        "mistake",
        [
            lambda request, response: 1 // 0,
            lambda request, response: ["X: y"],
            lambda request, response: asyncio.sleep(0),
            lambda request, response: [Remove("Via")],
            lambda request, response, database: None,
        ],
        ids=["raises", "no-edit", "coroutine", "protected", "unknown-service"],
    )
    def test_a_mistake_lets_the_response_pass(self, make: Make, mistake: Any) -> None:
        fixture = self.asked(make, mistake, 200)
        assert fixture.engine.inspections == [(1, [])]
        assert fixture.engine.counters == {"policy_errors": 1}
        assert fixture.engine.responses == []

    def test_without_its_handler_it_passes_and_is_counted(self, make: Make) -> None:
        fixture = self.asked(make, lambda request, response: [Remove("Server")])
        for number in (2, 3):
            fixture.ask(number)
        self.show(fixture)
        assert fixture.engine.inspections[-1] == (1, [])
        assert fixture.engine.counters == {"uninspected_responses": 1}

    def test_a_settled_call_leaves_nothing_behind(self, make: Make) -> None:
        fixture = self.asked(make, lambda request, response: [Remove("Server")])
        fixture.handle(("settled", 1, None, None))
        self.show(fixture)
        assert fixture.engine.counters == {"uninspected_responses": 1}

    def test_both_handlers_of_one_decision(self, make: Make) -> None:
        decision = Forward(
            "sip:a@b", on_response=lambda q, r: [Add("X", "1")], on_failure=lambda q, r: Reject(404)
        )
        fixture = make(lambda request: decision)
        fixture.ask()
        self.show(fixture)
        fixture.fail()
        assert fixture.engine.inspections == [(1, [("add", "X", "1")])]
        assert [each.status for each in fixture.engine.responses] == [404]
