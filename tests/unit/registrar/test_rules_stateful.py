"""Sequences of REGISTER requests against a model that is too simple to be wrong."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sipshard.registrar.binding import Binding
from sipshard.registrar.rules import Limits, Refusal, apply, prepare
from sipshard.testing import request

MAX_CONTACTS = 3
LIMITS = Limits(MAX_CONTACTS, default_expires_s=600, min_expires_s=60, max_expires_s=1000)
URIS = [f"sip:phone@192.0.2.{number}" for number in range(1, 6)]
CALL_IDS = ["a", "b"]
INTERVALS_S = [0, 30, 60, 600, 5000]


@dataclass
class Known:
    """What the model remembers of a contact."""

    call_id: str
    cseq: int
    ends_at_s: int


class RegistrarMachine(RuleBasedStateMachine):
    """Contacts come, go and expire; requests arrive late, twice and out of order."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1_800_000_000
        self.bindings: tuple[Binding, ...] = ()
        self.model: dict[str, Known] = {}
        self.highest_cseq = 0

    def send(self, call_id: str, cseq: int, headers: list[tuple[str, str]]) -> int:
        fields = [("Call-ID", call_id), ("CSeq", f"{cseq} REGISTER"), *headers]
        update = prepare(request("REGISTER", "sip:example.com", headers=fields), LIMITS, self.now_s)
        if isinstance(update, Refusal):
            return update.status
        after = apply(update, self.bindings, self.now_s, MAX_CONTACTS)
        if isinstance(after, Refusal):
            return after.status
        self.bindings = after
        return 200

    def live(self) -> dict[str, Known]:
        return {uri: known for uri, known in self.model.items() if known.ends_at_s > self.now_s}

    @rule(
        contacts=st.dictionaries(
            st.sampled_from(URIS), st.sampled_from(INTERVALS_S), min_size=1, max_size=4
        ),
        call_id=st.sampled_from(CALL_IDS),
    )
    def register(self, contacts: dict[str, int], call_id: str) -> None:
        self.highest_cseq += 1
        headers = [("Contact", f"<{uri}>;expires={left}") for uri, left in contacts.items()]
        status = self.send(call_id, self.highest_cseq, headers)
        after = self.live()
        before = set(after)
        for uri, left_s in contacts.items():
            if left_s == 0:
                after.pop(uri, None)
            else:
                after[uri] = Known(call_id, self.highest_cseq, self.now_s + min(left_s, 1000))
        if 30 in contacts.values():
            assert status == 423
        elif len(after) > MAX_CONTACTS and not set(after) <= before:
            assert status == 403
        else:
            assert status == 200
            self.model = after

    @precondition(lambda self: self.live())
    @rule(data=st.data(), behind=st.integers(1, 3))
    def register_late(self, data: st.DataObject, behind: int) -> None:
        uri = data.draw(st.sampled_from(sorted(self.live())))
        known = self.model[uri]
        headers = [("Contact", f"<{uri}>;expires=60")]
        assert self.send(known.call_id, max(0, known.cseq - behind), headers) == 500

    @rule(call_id=st.sampled_from(CALL_IDS))
    def remove_all(self, call_id: str) -> None:
        self.highest_cseq += 1
        assert self.send(call_id, self.highest_cseq, [("Contact", "*"), ("Expires", "0")]) == 200
        self.model = {}

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def remove_all_late(self, data: st.DataObject) -> None:
        known = self.model[data.draw(st.sampled_from(sorted(self.live())))]
        status = self.send(known.call_id, known.cseq, [("Contact", "*"), ("Expires", "0")])
        assert status == 500

    @rule()
    def ask(self) -> None:
        assert self.send("c", 1, []) == 200

    @rule(seconds=st.sampled_from([1, 59, 60, 601]))
    def wait(self, seconds: int) -> None:
        self.now_s += seconds

    @invariant()
    def bindings_are_those_of_the_model(self) -> None:
        found = {
            each.uri: Known(each.call_id, each.cseq, each.expires_at_s)
            for each in self.bindings
            if each.expires_at_s > self.now_s
        }
        assert found == self.live()


TestRegistrar = RegistrarMachine.TestCase
TestRegistrar.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
