"""The helpers for operators' own tests."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sipshard import Add, Forward, Reject, RequestTimeout, Respond, Router, Uri
from sipshard.testing import (
    FakeClient,
    FakeLocation,
    decide,
    decide_on_failure,
    decide_on_response,
    request,
    response,
)


def test_a_request_has_what_it_was_given() -> None:
    message = request(
        "MESSAGE",
        "sip:bob@example.com",
        headers=[("Call-ID", "mine"), ("Subject", "hello")],
        body=b"text",
        source=("2001:db8::5", 5070),
    )
    assert (message.method, str(message.uri)) == ("MESSAGE", "sip:bob@example.com")
    assert message.header("Call-ID") == message.call_id == "mine"
    assert message.header("Subject") == "hello"
    assert message.body == b"text"
    assert message.source == ("2001:db8::5", 5070)
    assert message.to_tag is None
    assert message.from_tag is not None


def test_each_request_is_a_new_call() -> None:
    assert request().call_id != request().call_id


def test_what_is_no_request_is_an_error() -> None:
    with pytest.raises(ValueError, match="CSeq"):
        request(headers=[("CSeq", "x")])


def test_a_response_belongs_to_its_request() -> None:
    call = request()
    busy = response(486, call, headers=[("Retry-After", "5")])
    assert (busy.status, busy.call_id) == (486, call.call_id)
    assert busy.header("CSeq") == f"{call.cseq} INVITE"
    assert busy.header("Retry-After") == "5"


def test_an_async_handler_is_run_to_its_end() -> None:
    router = Router()

    @router.request("INVITE")
    async def call(request: Any, location: Any) -> Forward:
        await asyncio.sleep(0)
        return Forward(location.lookup(request.uri))

    location = FakeLocation({"bob@example.com": ["sip:bob@192.0.2.7"]})
    decision = decide(router, request(), location=location)
    assert decision == Forward(location.lookup(Uri.parse("sip:bob@example.com")))
    assert decide(router, request("BYE")) is None


def test_a_failure_handler_is_asked() -> None:
    def voicemail(request: Any, response: Any, server: Any) -> Forward | None:
        return Forward("sip:voicemail@example.com") if response.status == 486 else None

    call = request()
    decision = Forward("sip:bob@192.0.2.7", on_failure=voicemail)
    second = decide_on_failure(decision, call, response(486, call))
    assert second == Forward("sip:voicemail@example.com")
    assert decide_on_failure(decision, call, response(603, call)) is None
    assert decide_on_failure(Reject(480), call, response(486, call)) is None


def test_a_response_handler_is_asked() -> None:
    def mark(request: Any, response: Any, server: Any) -> list[Add] | None:
        return [Add("X-Early", "1")] if response.status < 200 else None

    call = request()
    decision = Forward("sip:bob@192.0.2.7", on_response=mark)
    assert decide_on_response(decision, call, response(180, call)) == [Add("X-Early", "1")]
    assert decide_on_response(decision, call, response(200, call)) == ()
    assert decide_on_response(Reject(480), call, response(180, call)) == ()


def test_a_fake_client_answers_and_remembers() -> None:
    router = Router()

    @router.request("INVITE")
    async def call(request: Any, client: Any) -> Respond | Reject:
        try:
            answer = await client.request("OPTIONS", request.uri, timeout=2)
        except RequestTimeout:
            return Reject(504)
        return Respond(answer.status)

    client = FakeClient(200, RequestTimeout())
    decisions = [decide(router, request(), client=client) for _ in range(3)]
    assert decisions == [Respond(200), Reject(504), Reject(504)]
    (first, *_) = client.sent
    assert (first.method, first.uri, first.timeout) == ("OPTIONS", "sip:bob@example.com", 2)
    assert decide(router, request()) == Respond(200)


@pytest.mark.parametrize(
    ("method", "headers", "body"),
    [
        ("INVITE", [], b""),
        ("MESSAGE", [], b"text"),
        ("MESSAGE", [("Via", "x")], b""),
        ("MESSAGE", [("X", "a\r\nb")], b""),
    ],
)
def test_a_fake_client_refuses_what_the_server_refuses(
    method: str, headers: list[tuple[str, str]], body: bytes
) -> None:
    client = FakeClient()
    with pytest.raises(ValueError, match=r"dialogs|content type|cannot be set|line break"):
        asyncio.run(client.request(method, "sip:bob@example.com", headers=headers, body=body))
    assert client.sent == []


def test_a_request_of_a_trunk_that_has_proven_its_name() -> None:
    names = ["pbx.example.com", "sip:example.com"]
    trunk = request("INVITE", transport="tls", peer_names=names)
    assert trunk.transport == "tls"
    assert trunk.peer_names == names
    assert request("INVITE").peer_names == []
