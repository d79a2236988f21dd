"""The policies that README and the guide print do what the text around them says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from sipshard import (
    Add,
    Destination,
    Forward,
    Reject,
    RequestTimeout,
    Respond,
    Router,
    Save,
    Target,
)
from sipshard.policy.loader import load
from sipshard.testing import (
    FakeClient,
    FakeLocation,
    decide,
    decide_on_failure,
    decide_on_response,
    request,
    response,
)

ROOT = Path(__file__).resolve().parent.parent.parent.parent
EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BOB = "sip:bob@example.com"
LOCATION = FakeLocation({"bob@example.com": ["sip:bob@192.0.2.7"]})


@pytest.mark.parametrize("page", ["README.md", "docs/policy-guide.md"])
def test_the_first_policy_of_a_page(page: str, tmp_path: Path) -> None:
    example = EXAMPLE.search((ROOT / page).read_text(encoding="utf-8"))
    assert example is not None
    (tmp_path / "route.py").write_text(example[1], encoding="utf-8")
    router = load(tmp_path / "route.py")
    assert decide(router, request("REGISTER", "sip:example.com", from_uri=BOB)) == Save(BOB[4:])
    call = request("INVITE", BOB)
    assert decide(router, call) == Reject(480)
    first = decide(router, call, location=LOCATION)
    assert isinstance(first, Forward)
    assert (first.targets, first.record_route, first.ring_timeout) == (
        LOCATION.lookup(BOB),
        True,
        30,
    )
    second = decide_on_failure(first, call, response(486, call))
    assert isinstance(second, Forward)
    assert str(second.targets).startswith("sip:voicemail")
    assert decide_on_failure(first, call, response(404, call)) is None


def guide_example(function: str, tmp_path: Path) -> Router:
    """The router of the guide's example that defines ``function``."""
    text = (ROOT / "docs/policy-guide.md").read_text(encoding="utf-8")
    (example,) = (each[1] for each in EXAMPLE.finditer(text) if f"def {function}(" in each[1])
    (tmp_path / "route.py").write_text(example, encoding="utf-8")
    return load(tmp_path / "route.py")


def test_the_example_of_targets(tmp_path: Path) -> None:
    router = guide_example("phones_then_mobile", tmp_path)
    decision = decide(router, request("INVITE", BOB), location=LOCATION)
    assert isinstance(decision, Forward)
    *phones, mobile = cast(Sequence[Destination], decision.targets)
    assert tuple(phones) == LOCATION.lookup(BOB)
    assert mobile == Target(
        "sip:bob@mobile.example.com",
        q=0.5,
        ring_timeout=20,
        edits=[Add("X-Leg", "mobile")],
        route=["<sip:gateway.example.com;lr>"],
    )


def test_the_example_of_edits(tmp_path: Path) -> None:
    call = request("INVITE", BOB, from_uri="sip:alice@example.com")
    decision = decide(guide_example("to_the_trunk", tmp_path), call)
    assert isinstance(decision, Forward)
    assert Add("P-Asserted-Identity", "<sip:alice@example.com>") in decision.edits
    assert decide_on_response(decision, call, response(183, call)) == ()


def test_the_example_of_requests(tmp_path: Path) -> None:
    router = guide_example("relay", tmp_path)
    message = request("MESSAGE", BOB, headers=[("Content-Type", "text/plain")], body=b"hello")
    client = FakeClient(200, RequestTimeout(), 486)
    decisions = [decide(router, message, location=LOCATION, client=client) for _ in range(3)]
    assert decisions == [Respond(202), Reject(480), Reject(480)]
    assert [(sent.uri, sent.body) for sent in client.sent] == [("sip:bob@192.0.2.7", b"hello")] * 3
