"""The built-in policy, asked the way an operator would test a policy of his own."""

from __future__ import annotations

import pytest

from sipshard import Forward, Reject, Respond, Save
from sipshard.policy.builtin import router
from sipshard.testing import FakeBinding, FakeLocation, decide, request

BOB = FakeBinding("sip:bob@192.0.2.7", 500, ("<sip:edge.example.net;lr>",))
LOCATION = FakeLocation({"bob@example.com": [BOB]})
FOREIGN = Reject(403, "Domain Not Served")


class TestRegister:
    """RFC 3261 §10.3"""

    def test_a_user_of_ours_is_saved(self) -> None:
        message = request("REGISTER", "sip:example.com", from_uri="sip:bob@example.com:5060;x=y")
        assert decide(router, message) == Save("bob@example.com")

    def test_a_foreign_domain_is_403(self) -> None:
        assert decide(router, request("REGISTER", "sip:example.org")) == FOREIGN

    @pytest.mark.parametrize("to_uri", ["sip:bob@example.org", "tel:+15551234"])
    def test_a_user_of_another_domain_is_404(self, to_uri: str) -> None:
        """Step 5."""
        message = request("REGISTER", "sip:example.com", to_uri=to_uri)
        assert decide(router, message) == Reject(404)


class TestOptions:
    """RFC 3261 §11"""

    @pytest.mark.parametrize("uri", ["sip:example.com", "sip:127.0.0.1:5060"])
    def test_to_the_server_it_is_answered(self, uri: str) -> None:
        decision = decide(router, request("OPTIONS", uri))
        assert isinstance(decision, Respond)
        assert decision.code == 200
        assert {name for name, _ in decision.headers} == {"Allow", "Accept", "Supported"}
        allowed = set(dict(decision.headers)["Allow"].split(", "))
        assert {"INFO", "PUBLISH", "UPDATE", "PRACK", "SUBSCRIBE", "NOTIFY", "REFER"} <= allowed

    def test_with_an_unknown_extension_it_is_420(self) -> None:
        message = request("OPTIONS", "sip:example.com", headers=[("Require", "100rel")])
        assert decide(router, message) == Reject(420, headers=[("Unsupported", "100rel")])

    def test_to_a_user_it_is_forwarded(self) -> None:
        decision = decide(router, request("OPTIONS", "sip:bob@example.com"), location=LOCATION)
        assert decision == Forward((BOB,))

    def test_to_a_foreign_server_it_is_403(self) -> None:
        assert decide(router, request("OPTIONS", "sip:example.org")) == FOREIGN


class TestOthers:
    """RFC 3261 §16.5"""

    @pytest.mark.parametrize(
        ("method", "record_route"),
        [
            ("INVITE", True),
            ("SUBSCRIBE", True),
            ("NOTIFY", True),
            ("REFER", True),
            ("MESSAGE", False),
            ("PUBLISH", False),
            ("INFO", False),
        ],
    )
    def test_a_user_of_ours_is_called_at_his_bindings(
        self, method: str, record_route: bool
    ) -> None:
        message = request(method, "sip:bob@example.com")
        decision = decide(router, message, location=LOCATION)
        assert decision == Forward((BOB,), record_route=record_route)

    def test_a_user_without_bindings_is_480(self) -> None:
        assert decide(router, request("INVITE", "sip:nobody@example.com")) == Reject(480)

    def test_a_foreign_domain_is_403(self) -> None:
        assert decide(router, request("INVITE", "sip:bob@example.org")) == FOREIGN
