"""Decisions are values, and impossible ones cannot be made."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sipshard import (
    Add,
    Body,
    Decision,
    Edit,
    Forward,
    Redirect,
    Reject,
    Remove,
    Replace,
    Request,
    Respond,
    Response,
    Save,
    Target,
)


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


@pytest.mark.parametrize(
    "name",
    [
        "Via",
        "v",
        "VIA",
        "from",
        "t",
        "Call-ID",
        "i",
        "CSeq",
        "Route",
        "Record-Route",
        "max-forwards",
        "l",
        "Max-Breadth",
    ],
)
def test_an_edit_of_what_only_the_server_writes_is_an_error(name: str) -> None:
    for make in (lambda: Add(name, "x"), lambda: Remove(name), lambda: Replace(name, "x")):
        with pytest.raises(ValueError, match="cannot be set"):
            make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Add("X", "a\r\nVia: b"),
        lambda: Replace("X", "a\nb"),
        lambda: Add("X Y", "a"),
        lambda: Remove(""),
        lambda: Body(b"text", ""),
        lambda: Body(b"text", "text"),
        lambda: Body(b"text", "text/plain\r\nX: y"),
        lambda: Body(b"x" * 40_000, "text/plain"),
    ],
)
def test_an_edit_that_would_break_the_message_is_an_error(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"header 0|content type|longer"):
        make()


def test_equal_edits_and_targets_are_equal() -> None:
    assert Add("X", "1") == Add("X", "1") != Add("X", "2")
    edits: set[Edit] = {Add("X", "1"), Replace("X", "1")}
    assert len(edits) == 2
    assert {Remove("X"), Remove("X")} == {Remove("X")}
    assert Target("sip:a@b", q=0.5) == Target("sip:a@b", q=0.5) != Target("sip:a@b")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Target("sip:a@b", q=1.5),
        lambda: Target("sip:a@b", q=-0.1),
        lambda: Target("sip:a@b", ring_timeout=0),
        lambda: Forward("sip:a@b", ring_timeout=-1),
    ],
)
def test_a_setting_out_of_its_range_is_an_error(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"is not (in|above)"):
        make()


def test_a_route_is_a_sequence() -> None:
    with pytest.raises(TypeError, match="sequence"):
        Target("sip:a@b", route="<sip:gw.example.com;lr>")


def test_on_response_cannot_wait() -> None:
    async def waits(request: Request, response: Response) -> None:
        """Would hold the response up."""

    with pytest.raises(TypeError, match="plain def"):
        Forward("sip:a@b", on_response=waits)  # type: ignore[arg-type]


def test_response_edits_are_checked_together() -> None:
    with pytest.raises(ValueError, match="65 edits"):
        Forward("sip:a@b", response_edits=[Remove("X")] * 65)


@pytest.mark.parametrize("name", ["Via", "v", "From", "To", "Call-ID", "cseq", "Content-Length"])
def test_a_header_that_the_server_writes_is_an_error(name: str) -> None:
    headers = [("X-Fine", "1"), (name, "x")]
    for make in (
        lambda: Reject(480, headers=headers),
        lambda: Respond(200, headers=headers),
        lambda: Redirect("sip:a@b", headers=headers),
    ):
        with pytest.raises(ValueError, match="is written by the server itself"):
            make()


def test_a_line_break_in_a_header_is_an_error() -> None:
    with pytest.raises(ValueError, match="line break"):
        Reject(480, headers=[("X", "a\r\nb")])
