"""RFC 3261 §10.3, step by step, on the pure functions."""

from __future__ import annotations

from itertools import count

import pytest

from sipshard.registrar.binding import Binding
from sipshard.registrar.rules import (
    OUT_OF_ORDER,
    RETRANSMISSION_S,
    TOO_MANY_CONTACTS,
    Limits,
    Refusal,
    Update,
    apply,
    find,
    prepare,
)
from sipshard.sip import Request
from sipshard.testing import request

NOW_S = 1_800_000_000
LIMITS = Limits(max_contacts=3, default_expires_s=1800, min_expires_s=60, max_expires_s=7200)
PHONE = "sip:alice@192.0.2.1:5060"

_cseq = count(1)


def register(*headers: tuple[str, str], call_id: str = "a@phone", cseq: int = 0) -> Request:
    number = cseq or next(_cseq)
    fields = [("Call-ID", call_id), ("CSeq", f"{number} REGISTER"), *headers]
    return request("REGISTER", "sip:example.com", from_uri="sip:alice@example.com", headers=fields)


def prepared(*headers: tuple[str, str], call_id: str = "a@phone", cseq: int = 0) -> Update:
    update = prepare(register(*headers, call_id=call_id, cseq=cseq), LIMITS, NOW_S)
    assert isinstance(update, Update)
    return update


def refused(*headers: tuple[str, str]) -> Refusal:
    refusal = prepare(register(*headers), LIMITS, NOW_S)
    assert isinstance(refusal, Refusal)
    return refusal


def bound(
    uri: str = PHONE, *, cseq: int = 1, call_id: str = "a@phone", left_s: int = 600
) -> Binding:
    return Binding(uri, 1000, NOW_S + left_s, call_id, cseq)


def contact(value: str) -> tuple[str, str]:
    return ("Contact", value)


class TestStep2:
    """Extensions that the request requires (§8.2.2.3)."""

    def test_an_unknown_option_tag_is_420_and_named(self) -> None:
        refusal = refused(("Require", "path, outer-space"), contact(f"<{PHONE}>"))
        assert refusal.status == 420
        assert refusal.headers == (("Unsupported", "outer-space"),)

    def test_a_known_option_tag_passes(self) -> None:
        assert prepared(("Require", "Path"), contact(f"<{PHONE}>")).contacts


class TestStep6:
    """No contact, or the star."""

    def test_no_contact_asks_only(self) -> None:
        update = prepared()
        assert update.contacts == ()
        assert not update.removes_all
        assert apply(update, [bound()], NOW_S, 3) == (bound(),)

    def test_star_with_expires_zero_removes_all(self) -> None:
        update = prepared(contact("*"), ("Expires", "0"), call_id="other")
        assert update.removes_all
        assert apply(update, [bound(), bound("sip:b@192.0.2.2")], NOW_S, 3) == ()

    @pytest.mark.parametrize(
        "headers",
        [
            [contact("*")],
            [contact("*"), ("Expires", "1")],
            [contact("*"), contact(f"<{PHONE}>"), ("Expires", "0")],
            [contact(f"<{PHONE}>, *"), ("Expires", "0")],
        ],
    )
    def test_any_other_star_is_400(self, headers: list[tuple[str, str]]) -> None:
        assert refused(*headers).status == 400

    def test_star_behind_a_newer_request_of_the_same_phone_is_aborted(self) -> None:
        update = prepared(contact("*"), ("Expires", "0"), cseq=5)
        others = bound("sip:b@192.0.2.2", call_id="b@phone", cseq=99)
        assert apply(update, [others, bound(cseq=5)], NOW_S, 3) == OUT_OF_ORDER
        assert apply(update, [others, bound(cseq=4)], NOW_S, 3) == ()


class TestStep7Intervals:
    """The expiration interval and 423."""

    @pytest.mark.parametrize(
        ("headers", "expected_s"),
        [
            ([contact(f"<{PHONE}>;expires=100"), ("Expires", "200")], 100),
            ([contact(f"<{PHONE}>"), ("Expires", "200")], 200),
            ([contact(f"<{PHONE}>")], 1800),
            ([contact(f"<{PHONE}>;expires=7201")], 7200),
            ([contact(f"<{PHONE}>"), ("Expires", "4294967295")], 7200),
            ([contact(f"<{PHONE}>;expires=60")], 60),
        ],
        ids=["parameter", "header", "default", "clamped", "header-clamped", "minimum"],
    )
    def test_precedence(self, headers: list[tuple[str, str]], expected_s: int) -> None:
        assert prepared(*headers).contacts[0].expires_at_s == NOW_S + expected_s

    def test_too_brief_is_423_with_the_minimum(self) -> None:
        refusal = refused(contact(f"<{PHONE}>;expires=59"))
        assert refusal.status == 423
        assert refusal.headers == (("Min-Expires", "60"),)

    def test_one_too_brief_refuses_the_whole_request(self) -> None:
        assert refused(contact("<sip:b@192.0.2.2>"), contact(f"<{PHONE}>;expires=1")).status == 423

    def test_zero_is_a_removal_and_never_too_brief(self) -> None:
        update = prepared(contact(f"<{PHONE}>;expires=0"), cseq=2)
        assert apply(update, [bound(cseq=1)], NOW_S, 3) == ()

    def test_an_hour_is_never_too_brief(self) -> None:
        limits = Limits(min_expires_s=7200)
        update = prepare(register(contact(f"<{PHONE}>;expires=3600")), limits, NOW_S)
        assert isinstance(update, Update)
        refusal = prepare(register(contact(f"<{PHONE}>;expires=3599")), limits, NOW_S)
        assert isinstance(refusal, Refusal)
        assert refusal.status == 423

    def test_a_malformed_contact_is_400(self) -> None:
        assert refused(contact("<sip:")).status == 400


class TestStep7Ordering:
    """Call-ID and CSeq."""

    def test_a_new_contact_is_added_behind_the_others(self) -> None:
        update = prepared(contact("<sip:b@192.0.2.2>;q=0.5"), call_id="b@phone", cseq=1)
        after = apply(update, [bound()], NOW_S, 3)
        assert isinstance(after, tuple)
        assert [each.uri for each in after] == [PHONE, "sip:b@192.0.2.2"]
        assert after[1].q_milli == 500
        assert after[1].cseq == 1
        assert after[1].call_id == "b@phone"

    def test_a_higher_cseq_refreshes(self) -> None:
        after = apply(prepared(contact(f"<{PHONE}>"), cseq=2), [bound(cseq=1)], NOW_S, 3)
        assert isinstance(after, tuple)
        assert after[0].expires_at_s == NOW_S + 1800
        assert after[0].cseq == 2

    @pytest.mark.parametrize("expires", ["0", "600"])
    def test_a_lower_cseq_of_the_same_call_id_is_aborted(self, expires: str) -> None:
        update = prepared(contact(f"<{PHONE}>;expires={expires}"), cseq=1)
        assert apply(update, [bound(cseq=2)], NOW_S, 3) == OUT_OF_ORDER
        assert OUT_OF_ORDER.status == 500

    def test_one_out_of_order_aborts_the_whole_update(self) -> None:
        update = prepared(contact("<sip:b@192.0.2.2>"), contact(f"<{PHONE}>"), cseq=1)
        assert apply(update, [bound(cseq=2)], NOW_S, 3) == OUT_OF_ORDER

    def test_another_call_id_wins_whatever_its_cseq(self) -> None:
        update = prepared(contact(f"<{PHONE}>"), call_id="restarted@phone", cseq=1)
        after = apply(update, [bound(cseq=99)], NOW_S, 3)
        assert isinstance(after, tuple)
        assert len(after) == 1
        assert after[0].call_id == "restarted@phone"
        assert after[0].cseq == 1

    def test_what_has_expired_orders_nothing(self) -> None:
        update = prepared(contact(f"<{PHONE}>"), cseq=1)
        assert isinstance(apply(update, [bound(cseq=2, left_s=0)], NOW_S, 3), tuple)


class TestRepetition:
    """A retransmission whose transaction died with its worker."""

    def written(self) -> tuple[Binding, ...]:
        after = apply(prepared(contact(f"<{PHONE}>"), cseq=7), [], NOW_S, 3)
        assert isinstance(after, tuple)
        return after

    def again(self, seconds_later: int, value: str = f"<{PHONE}>") -> Update:
        update = prepare(register(contact(value), cseq=7), LIMITS, NOW_S + seconds_later)
        assert isinstance(update, Update)
        return update

    @pytest.mark.parametrize("seconds_later", [0, 1, RETRANSMISSION_S])
    def test_it_is_accepted_and_changes_nothing(self, seconds_later: int) -> None:
        stored = self.written()
        now_s = NOW_S + seconds_later
        assert apply(self.again(seconds_later), stored, now_s, 3) == stored

    def test_later_than_any_retransmission_it_is_out_of_order(self) -> None:
        late_s = RETRANSMISSION_S + 1
        assert apply(self.again(late_s), self.written(), NOW_S + late_s, 3) == OUT_OF_ORDER

    @pytest.mark.parametrize(
        "value", [f"<{PHONE}>;expires=0", f"<{PHONE}>;q=0.1", f"<{PHONE}>;expires=60"]
    )
    def test_the_same_cseq_for_something_else_is_out_of_order(self, value: str) -> None:
        assert apply(self.again(0, value), self.written(), NOW_S, 3) == OUT_OF_ORDER

    def test_a_removal_can_be_repeated(self) -> None:
        update = prepared(contact(f"<{PHONE}>;expires=0"), cseq=8)
        assert apply(update, (), NOW_S, 3) == ()


class TestMaxContacts:
    def test_one_more_than_allowed_is_403(self) -> None:
        stored = [bound(f"sip:{number}@192.0.2.1") for number in range(3)]
        update = prepared(contact(f"<{PHONE}>"))
        assert apply(update, stored, NOW_S, 3) == TOO_MANY_CONTACTS
        assert TOO_MANY_CONTACTS.status == 403

    def test_replacing_one_by_another_in_one_request_is_not(self) -> None:
        stored = [bound(f"sip:{number}@192.0.2.1") for number in range(3)]
        update = prepared(contact("<sip:0@192.0.2.1>;expires=0"), contact(f"<{PHONE}>"), cseq=50)
        after = apply(update, stored, NOW_S, 3)
        assert isinstance(after, tuple)
        assert len(after) == 3

    def test_a_refresh_passes_when_the_limit_was_lowered(self) -> None:
        stored = [bound(), bound("sip:b@192.0.2.2")]
        assert isinstance(apply(prepared(contact(f"<{PHONE}>"), cseq=2), stored, NOW_S, 1), tuple)

    def test_expired_ones_do_not_count(self) -> None:
        stored = [bound(f"sip:{number}@192.0.2.1", left_s=0) for number in range(3)]
        assert isinstance(apply(prepared(contact(f"<{PHONE}>")), stored, NOW_S, 3), tuple)


class TestContacts:
    @pytest.mark.parametrize(
        "same",
        [
            "sip:alice@192.0.2.1:5060",
            "SIP:alice@192.0.2.1:5060",
            "sip:%61lice@192.0.2.1:5060",
        ],
    )
    def test_equal_uris_are_one_binding(self, same: str) -> None:
        """§19.1.4"""
        assert find(same, [bound()]) == 0

    @pytest.mark.parametrize(
        "other",
        [
            "sip:Alice@192.0.2.1:5060",
            "sip:alice@192.0.2.1",
            "sips:alice@192.0.2.1:5060",
            "sip:alice@192.0.2.1:5060;transport=tcp",
        ],
    )
    def test_different_uris_are_two(self, other: str) -> None:
        assert find(other, [bound()]) is None

    def test_a_contact_that_is_no_sip_uri_is_equal_to_itself(self) -> None:
        assert find("mailto:alice@example.com", [bound("mailto:alice@example.com")]) == 0
        assert find("mailto:alice@example.com", [bound()]) is None

    def test_a_contact_that_comes_twice_counts_once_with_its_last_interval(self) -> None:
        update = prepared(
            contact(f"<{PHONE}>;expires=100"), contact("<SIP:alice@192.0.2.1:5060>;expires=200")
        )
        assert [each.expires_at_s - NOW_S for each in update.contacts] == [200]

    def test_path_is_kept_in_order(self) -> None:
        """RFC 3327 §5.3"""
        update = prepared(
            ("Path", "<sip:near.example.net;lr>, <sip:far.example.net;lr>"),
            ("Path", "<sip:last.example.net;lr>"),
            contact(f"<{PHONE}>"),
        )
        hosts = [value.partition(":")[2].partition(";")[0] for value in update.contacts[0].path]
        assert hosts == ["near.example.net", "far.example.net", "last.example.net"]

    def test_instance_and_parameters_are_kept_apart(self) -> None:
        value = f'<{PHONE}>;expires=90;+sip.instance="<urn:uuid:1>";reg-id=1;q=0.7;x="a;b";flag'
        binding = prepared(contact(value)).contacts[0]
        assert binding.instance is not None
        assert "urn:uuid:1" in binding.instance
        assert binding.q_milli == 700
        assert binding.parameters == 'x="a;b";flag'
