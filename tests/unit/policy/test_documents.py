"""The policies that README and the guide print do what the text around them says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sipshard import Forward, Reject, Save
from sipshard.policy.loader import load
from sipshard.testing import FakeLocation, decide, decide_on_failure, request, response

ROOT = Path(__file__).resolve().parent.parent.parent.parent
FIRST_EXAMPLE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
BOB = "sip:bob@example.com"
LOCATION = FakeLocation({"bob@example.com": ["sip:bob@192.0.2.7"]})


@pytest.mark.parametrize("page", ["README.md", "docs/policy-guide.md"])
def test_the_first_policy_of_a_page(page: str, tmp_path: Path) -> None:
    example = FIRST_EXAMPLE.search((ROOT / page).read_text(encoding="utf-8"))
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
