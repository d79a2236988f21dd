"""The policies that the guide shows, tested as their operators would."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, tzinfo

import pytest

from docs.policies import notify_missed_call, office_hours, scanners, voicemail
from sipshard import Forward, Reject, Remove, RequestTimeout, Save
from sipshard.testing import (
    FakeClient,
    FakeLocation,
    decide,
    decide_on_failure,
    decide_on_response,
    request,
    response,
)

BOB = "sip:bob@example.com"
LOCATION = FakeLocation({"bob@example.com": ["sip:bob@192.0.2.7"]})
TO_BOBS_MAILBOX = Forward("sip:bob@voicemail.example.com", record_route=True)


class TestVoicemail:
    def test_a_user_is_registered_in_our_domain_only(self) -> None:
        ours = request("REGISTER", "sip:example.com", from_uri=BOB)
        theirs = request("REGISTER", "sip:example.org", from_uri=BOB)
        assert decide(voicemail.router, ours) == Save("bob@example.com")
        assert decide(voicemail.router, theirs) == Reject(403)

    @pytest.mark.parametrize("status", [408, 486])
    def test_a_phone_that_is_not_answered_goes_to_voicemail(self, status: int) -> None:
        call = request("INVITE", BOB)
        first = decide(voicemail.router, call, location=LOCATION)
        assert isinstance(first, Forward)
        assert (first.targets, first.ring_timeout) == (LOCATION.lookup(BOB), voicemail.RING_S)
        assert decide_on_failure(first, call, response(status, call)) == TO_BOBS_MAILBOX

    def test_other_failures_go_to_the_caller(self) -> None:
        call = request("INVITE", BOB)
        first = decide(voicemail.router, call, location=LOCATION)
        assert first is not None
        assert decide_on_failure(first, call, response(488, call)) is None

    def test_without_a_phone_it_is_voicemail_at_once(self) -> None:
        assert decide(voicemail.router, request("INVITE", BOB)) == TO_BOBS_MAILBOX


class Clock(datetime):
    """What ``datetime.now`` says is ``moment``."""

    moment = datetime(2026, 5, 4, 10)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Clock:
        return cls.combine(cls.moment.date(), cls.moment.time(), tz)


class TestOfficeHours:
    @pytest.mark.parametrize(
        ("moment", "is_holiday", "target"),
        [
            (datetime(2026, 5, 4, 10), False, office_hours.OFFICE),
            (datetime(2026, 5, 4, 10), True, office_hours.ANSWERING_SERVICE),
            (datetime(2026, 5, 4, 18), False, office_hours.ANSWERING_SERVICE),
            (datetime(2026, 5, 3, 10), False, office_hours.ANSWERING_SERVICE),
        ],
    )
    def test_the_hotline_rings_where_somebody_is(
        self, monkeypatch: pytest.MonkeyPatch, moment: datetime, is_holiday: bool, target: str
    ) -> None:
        async def ask_calendar(day: date) -> bool:
            await asyncio.sleep(0)
            return is_holiday

        monkeypatch.setattr(Clock, "moment", moment)
        monkeypatch.setattr(office_hours, "datetime", Clock)
        monkeypatch.setattr(office_hours, "ask_calendar", ask_calendar)
        decision = decide(office_hours.router, request("INVITE", "sip:hotline@example.com"))
        assert decision == Forward(target, record_route=True)

    def test_a_calendar_that_never_answers_costs_half_a_second_at_most(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def never(day: date) -> bool:
            await asyncio.Event().wait()
            return True

        monkeypatch.setattr(office_hours, "ask_calendar", never)
        monkeypatch.setattr(office_hours, "CALENDAR_TIMEOUT_S", 0.0)
        assert asyncio.run(office_hours.is_holiday(date(2026, 12, 25))) is False

    def test_other_numbers_do_not_exist(self) -> None:
        assert decide(office_hours.router, request("INVITE", BOB)) == Reject(404)


class TestScanners:
    @pytest.mark.parametrize("agent", ["friendly-scanner", "SIPVicious 0.3"])
    def test_a_scanner_gets_403_whatever_it_asks(self, agent: str) -> None:
        scan = request("OPTIONS", BOB, headers=[("User-Agent", agent)])
        assert decide(scanners.router, scan, location=LOCATION) == Reject(403)

    def test_an_asserted_identity_is_refused_in_any_case(self) -> None:
        call = request("INVITE", BOB, headers=[("p-asserted-identity", "<sip:boss@example.com>")])
        decision = decide(scanners.router, call, location=LOCATION)
        assert decision == Reject(403, "Identity Not Accepted")

    def test_a_call_that_was_diverted_too_often_ends(self) -> None:
        call = request("INVITE", BOB, headers=[("Diversion", f"<sip:{n}@x>") for n in range(6)])
        decision = decide(scanners.router, call, location=LOCATION)
        assert isinstance(decision, Reject)
        assert decision.code == 482

    def test_everybody_else_reaches_the_phones(self) -> None:
        call = request("INVITE", BOB, headers=[("User-Agent", "baresip v3")])
        decision = decide(scanners.router, call, location=LOCATION)
        assert decision == Forward(LOCATION.lookup(BOB), record_route=True)


class TestNotifyMissedCall:
    def forwarded(self) -> Forward:
        decision = decide(notify_missed_call.router, request("INVITE", BOB), location=LOCATION)
        assert isinstance(decision, Forward)
        return decision

    def test_phones_ring_without_what_is_for_trunks(self) -> None:
        decision = self.forwarded()
        assert decision.targets == LOCATION.lookup(BOB)
        assert Remove("P-Asserted-Identity") in decision.edits

    @pytest.mark.parametrize("answer", [200, 415, RequestTimeout()])
    def test_a_missed_call_is_told_and_the_failure_goes_on(self, answer: int | Exception) -> None:
        client = FakeClient(answer)
        call = request("INVITE", BOB, from_uri="sip:alice@example.com")
        busy = response(486, call)
        second = decide_on_failure(self.forwarded(), call, busy, location=LOCATION, client=client)
        assert second is None
        (sent,) = client.sent
        assert (sent.method, sent.uri, sent.to_uri) == ("MESSAGE", "sip:bob@192.0.2.7", BOB)
        assert sent.body == b"Missed call from sip:alice@example.com"
        assert sent.timeout == notify_missed_call.NOTIFY_TIMEOUT_S

    def test_a_call_that_could_not_be_is_not_told(self) -> None:
        client = FakeClient()
        call = request("INVITE", BOB)
        failed = response(488, call)
        decide_on_failure(self.forwarded(), call, failed, location=LOCATION, client=client)
        assert client.sent == []

    @pytest.mark.parametrize(
        ("server", "edits"), [("Gateway 3", [Remove("Server")]), ("Phone 1", ())]
    )
    def test_a_gateway_stays_unknown(self, server: str, edits: object) -> None:
        call = request("INVITE", BOB)
        ringing = response(180, call, headers=[("Server", server)])
        assert decide_on_response(self.forwarded(), call, ringing) == edits

    def test_a_user_is_registered_in_our_domain_only(self) -> None:
        theirs = request("REGISTER", "sip:example.org", from_uri=BOB)
        assert decide(notify_missed_call.router, theirs) == Reject(403)
        ours = request("REGISTER", "sip:example.com", from_uri=BOB)
        assert decide(notify_missed_call.router, ours) == Save("bob@example.com")

    def test_nobody_and_foreigners_are_not_called(self) -> None:
        foreign = request("INVITE", "sip:bob@example.org")
        assert decide(notify_missed_call.router, foreign) == Reject(403)
        assert decide(notify_missed_call.router, request("INVITE", BOB)) == Reject(480)
