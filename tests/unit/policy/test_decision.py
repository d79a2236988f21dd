"""Decisions are values, and impossible ones cannot be made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipshard import Decision, Forward, Redirect, Reject, Respond, Save


def test_equal_decisions_are_equal() -> None:
    assert Reject(480) == Reject(480)
    decisions: set[Decision] = {Reject(480), Respond(480), Reject(480)}
    assert len(decisions) == 2
    assert Forward("sip:a@b", record_route=True) == Forward("sip:a@b", record_route=True)
    assert Save("a@b") != Save("c@d")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Reject(399),
        lambda: Reject(700),
        lambda: Respond(100),
        lambda: Respond(1000),
        lambda: Redirect("sip:a@b", code=200),
        lambda: Redirect("sip:a@b", code=400),
    ],
)
def test_a_status_of_another_class_is_an_error(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match="is not in"):
        make()
