"""What holds for every message and URI, as policies see them: nothing is lost, nothing panics.

The engine never writes a message anew, so that "parse and serialise is identity" means: the bytes
that come out are those that went in, and every part is found as it was put there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sipshard.sip import Request, Response, Uri

# A machine that has other things to do beside these is no reason to fail.
QUICK = settings(max_examples=150, deadline=None)
MAX_HEADERS = 256
MAX_MESSAGE_BYTES = 65_536

TOKEN = st.text("abcXYZ019-.!%*_+`'~", min_size=1, max_size=10)
HOST = st.sampled_from(
    ["example.com", "EXAMPLE.com", "a.b-c.example", "192.0.2.7", "[2001:db8::7]", "localhost"]
)
USER = st.text("abcXYZ09-_.!~*'()&=+$,;?/", min_size=1, max_size=12)
SPACE = st.sampled_from(["", " ", "\t", "  "])
QUOTED = st.text("ab ;,<>=@ä", max_size=10).map(lambda text: f'"{text}\\"\\\\"')


class UriParts(NamedTuple):
    """A SIP URI before it is put together."""

    scheme: str
    user: str | None
    host: str
    port: int | None
    parameters: dict[str, str]

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        parameters = "".join(f";{name}={value}" for name, value in self.parameters.items())
        return f"{self.scheme}:{user}{self.host}{port}{parameters}"


URI = st.builds(
    UriParts,
    st.sampled_from(["sip", "sips", "SIP", "Sips"]),
    st.none() | USER,
    HOST,
    st.none() | st.integers(0, 65535),
    st.dictionaries(st.sampled_from(["ob", "transport", "x"]), st.text("abc9:/&+$.", min_size=1)),
)


class Spelling(NamedTuple):
    """How the name of a field is written, and what stands before its value."""

    form: int
    before: str
    after: str

    def write(self, name: str, compact: str) -> str:
        """RFC 3261 §7.3.1 and §7.3.3: any case, compact, and white space on both sides."""
        forms = (name, name.upper(), name.lower(), name.swapcase(), compact, compact.upper())
        return f"{forms[self.form]}{self.before}:{self.after}"


SPELLING = st.builds(
    Spelling, st.integers(0, 5), SPACE, st.sampled_from(["", " ", "\t", "\r\n ", "\r\n\t "])
)


class Parts(NamedTuple):
    """A message before it is put together; ``others`` are its fields that nobody knows."""

    uri: UriParts
    display: str
    tag: str
    call_id: str
    cseq: int
    vias: Sequence[str]
    others: Sequence[tuple[str, str]]
    spellings: Sequence[Spelling]
    body: bytes

    def write(self, start_line: str) -> bytes:
        """The message."""
        fields = [
            ("Via", "v", ", ".join(f"SIP/2.0/UDP {host};branch=z9hG4bK1" for host in self.vias)),
            ("From", "f", f"{self.display} <{self.uri}>;tag={self.tag}"),
            ("To", "t", "sip:bob@example.com"),
            ("Call-ID", "i", self.call_id),
            ("CSeq", "CSeq", f"{self.cseq} INVITE"),
            ("Contact", "m", f"<{self.uri}>;q=0.5;expires=60, {self.display} <sip:second@host>"),
            ("Content-Length", "l", str(len(self.body))),
        ]
        lines = [start_line]
        for spelling, (name, compact, value) in zip(self.spellings, fields, strict=True):
            lines.append(spelling.write(name, compact) + value)
        lines += [f"{name}:{value}" for name, value in self.others]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


PARTS = st.builds(
    Parts,
    URI,
    st.just("") | TOKEN | QUOTED,
    TOKEN,
    st.text("abcXYZ019-.!%*_+`'~()<>:\\\"/[]?{}@", min_size=1, max_size=40),
    st.integers(0, 2**32 - 1),
    st.lists(HOST, min_size=1, max_size=4),
    st.lists(
        st.tuples(
            st.sampled_from(["X-One", "X-Two", "x-one"]),
            st.lists(st.text('abc ;=,<>"äß€', max_size=8), max_size=4).map("\r\n ".join),
        ),
        max_size=40,
    ),
    st.lists(SPELLING, min_size=7, max_size=7),
    st.binary(max_size=200),
)


@QUICK
@given(PARTS)
def test_a_request_put_together_comes_apart_again(parts: Parts) -> None:
    data = parts.write(f"INVITE {parts.uri} SIP/2.0")
    request = Request.parse(data)
    assert bytes(request) == data
    assert (request.method, request.cseq) == ("INVITE", parts.cseq)
    assert str(request.uri) == str(request.from_uri) == str(parts.uri)
    assert (request.from_tag, request.to_tag) == (parts.tag, None)
    assert (request.call_id, request.body) == (parts.call_id, parts.body)
    assert [str(contact.uri) for contact in request.contacts] == [str(parts.uri), "sip:second@host"]
    assert [contact.q_milli for contact in request.contacts] == [500, 1000]
    assert [contact.expires_s for contact in request.contacts] == [60, None]
    for name in ("X-One", "x-TWO"):
        expected = [value.strip() for known, value in parts.others if known.lower() == name.lower()]
        assert [value.strip() for value in request.headers(name)] == expected


@QUICK
@given(PARTS, st.integers(100, 699), st.text("abc äß€;:", max_size=20))
def test_a_response_put_together_comes_apart_again(parts: Parts, status: int, reason: str) -> None:
    data = parts.write(f"SIP/2.0 {status} {reason}")
    response = Response.parse(data)
    assert bytes(response) == data
    assert (response.status, response.reason.strip()) == (status, reason.strip())
    assert (response.call_id, response.body) == (parts.call_id, parts.body)
    assert bytes(Response.parse(bytes(response))) == data


@QUICK
@given(URI)
def test_a_uri_put_together_comes_apart_again(parts: UriParts) -> None:
    uri = Uri.parse(str(parts))
    assert str(uri) == str(parts)
    assert (uri.scheme, uri.user, uri.port) == (parts.scheme.lower(), parts.user, parts.port)
    assert uri.host == parts.host.lower()
    for name, value in parts.parameters.items():
        assert uri.parameter(name.upper()) == value
    again = Uri.parse(str(uri))
    assert again == uri and hash(again) == hash(uri)
    assert Uri.parse(f"sip:{uri.aor}").aor == uri.aor


@QUICK
@given(st.binary(max_size=400) | st.text('SIP/2.0 sip:@<>"\\;=,%&[]\r\n\tVvf059', max_size=200))
def test_anything_else_is_refused_or_read(data: bytes | str) -> None:
    raw = data if isinstance(data, bytes) else data.encode()
    _read_all(raw)
    _read_uri(raw.decode("utf-8", "surrogateescape"))


@QUICK
@given(PARTS, st.data())
def test_damaged_messages_are_refused_or_read(parts: Parts, data: st.DataObject) -> None:
    raw = bytearray(parts.write(f"INVITE {parts.uri} SIP/2.0"))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    _read_all(bytes(raw))


def _read_all(raw: bytes) -> None:
    """Only ValueError may come out, and what is read is what was there."""
    for kind in (Request, Response):
        try:
            message = kind.parse(raw)
        except ValueError:
            continue
        assert bytes(message) in raw
    try:
        request = Request.parse(raw)
    except ValueError:
        return
    assert request.uri == request.uri
    for read in ("from_uri", "to_uri", "contacts", "expires_s", "path", "body"):
        try:
            getattr(request, read)
        except ValueError:
            continue


def _read_uri(text: str) -> None:
    try:
        uri = Uri.parse(text)
    except ValueError:
        return
    assert str(uri) == text and uri == uri


HEAD = (
    "OPTIONS sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\n"
    "From: <sip:a@b>;tag=1\r\nTo: <sip:b@c>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\n"
)


NINES = "9" * 100


@pytest.mark.parametrize(
    ("fields", "is_read"),
    [
        ("a: b\r\n" * 10_000, False),
        ("a: b\r\n" * (MAX_HEADERS - 5), True),
        ("a: b\r\n" * (MAX_HEADERS - 4), False),
        ("X: " + "y" * (MAX_MESSAGE_BYTES - 200) + "\r\n", True),
        ("X: " + "y" * MAX_MESSAGE_BYTES + "\r\n", False),
        ("X" * 60_000 + ": y\r\n", True),
        ("X:" + "\r\n " * 20_000 + "\r\n", True),
        ("Contact: " + '"' * 30_000 + "\r\n", True),
        ("Contact: " + "<" * 30_000 + "\r\n", True),
        ("Contact: " + '"\\"' * 10_000 + "<sip:a@b>\r\n", True),
        ("Warning: " + "(" * 30_000 + "\r\n", True),
        ("Max-Forwards: " + NINES + "\r\n", True),
        ("Max-Forwards: -" + NINES + "\r\n", False),
        ("Content-Length: " + NINES + "\r\n", False),
        ("Content-Length: -1\r\n", False),
        ("Expires: " + NINES + "\r\n", True),
        (f"Contact: <sip:a@b>;expires={NINES};q=0.{NINES}\r\n", True),
        (f"Contact: <sip:a@b:{NINES}>\r\n", True),
    ],
)
def test_limits(fields: str, is_read: bool) -> None:
    """What is too much is refused; what only looks bad does no harm until it is asked for."""
    _read_all((HEAD + fields + "\r\n").encode())
    try:
        Request.parse((HEAD + fields + "\r\n").encode())
    except ValueError:
        assert not is_read
    else:
        assert is_read


def test_numbers_that_no_type_holds() -> None:
    fields = f"Expires: {NINES}\r\nContact: <sip:a@b>;expires={NINES}\r\n"
    request = Request.parse((HEAD + fields + "\r\n").encode())
    # RFC 3261 §20.19: anything beyond 2**32-1 seconds means "as long as possible".
    assert request.expires_s == request.contacts[0].expires_s == 2**32 - 1
    with pytest.raises(ValueError, match="CSeq"):
        Request.parse((HEAD.replace("CSeq: 1", f"CSeq: {NINES}") + "\r\n").encode())
    with pytest.raises(ValueError, match="no URI"):
        Uri.parse(f"sip:a@b:{NINES}")
