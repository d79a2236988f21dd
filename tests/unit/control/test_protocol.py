"""Requests of the control socket."""

from __future__ import annotations

import pytest

from sipshard.control.protocol import (
    RegistrationsRequest,
    Request,
    RequestError,
    StatusRequest,
    encode,
    encode_request,
    parse_request,
)


@pytest.mark.parametrize(
    "request_",
    [
        StatusRequest(),
        RegistrationsRequest(),
        RegistrationsRequest("alice@example.com", 1, None),
        RegistrationsRequest(None, 1000, "bob@example.com"),
    ],
)
def test_what_is_written_is_read(request_: Request) -> None:
    line = encode_request(request_)
    assert line.endswith(b"\n")
    assert parse_request(line) == request_


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"", "no JSON"),
        (b"status", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        (b"[" * 5000, "no JSON"),
        (b"[]", 'no object with a "verb"'),
        (b"{}", 'no object with a "verb"'),
        (b'{"verb": "shutdown"}', "no verb 'shutdown'"),
        (b'{"verb": ["status"]}', "no verb"),
        (b'{"verb": "status", "deep": 1}', "unknown field 'deep'"),
        (b'{"verb": "registrations", "aor": 3}', "aor and after are texts"),
        (b'{"verb": "registrations", "after": {}}', "aor and after are texts"),
        (b'{"verb": "registrations", "limit": "9"}', "limit is a whole number"),
        (b'{"verb": "registrations", "limit": true}', "limit is a whole number"),
        (b'{"verb": "registrations", "limit": 0}', "from 1 to 1000"),
        (b'{"verb": "registrations", "limit": 1001}', "from 1 to 1000"),
    ],
)
def test_what_cannot_be_understood_is_named(line: bytes, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_request(line)


def test_an_answer_is_one_line_whatever_is_in_it() -> None:
    assert encode({"aor": "a\nb\udcff"}) == b'{"aor":"a\\nb\\udcff"}\n'
