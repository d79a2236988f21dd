"""The stored form of a record."""

from __future__ import annotations

from contextlib import suppress

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sipshard.registrar.binding import Binding
from sipshard.registrar.record import SCHEMA_VERSION, Record, RecordError, RecordWriter, decode

# What surrogateescape makes of bytes that are no UTF-8 is text like any other here.
TEXT = st.binary(max_size=40).map(lambda data: data.decode(errors="surrogateescape"))
SECONDS = st.integers(0, 2**33)
BINDINGS = st.builds(
    Binding,
    TEXT,
    st.integers(0, 1000),
    SECONDS,
    TEXT,
    st.integers(0, 2**31),
    st.lists(TEXT, max_size=3).map(tuple),
    st.none() | TEXT,
    st.none() | st.integers(0, 2**31),
    TEXT,
)


@given(st.builds(Record, SECONDS, st.lists(BINDINGS, max_size=4).map(tuple)))
def test_what_is_written_is_read(record: Record) -> None:
    assert decode(RecordWriter().encode(record)) == record


@given(st.binary(max_size=200))
def test_no_damage_is_worse_than_a_record_error(data: bytes) -> None:
    with suppress(RecordError):
        decode(data)


def test_a_newer_schema_is_refused() -> None:
    data = msgpack.packb((SCHEMA_VERSION + 1, "whatever came later"))
    with pytest.raises(RecordError, match="schema 3"):
        decode(data)


def test_what_the_version_before_has_written_is_read() -> None:
    row = ("sip:a@192.0.2.1", 1000, 5, "call", 1, ("<sip:p;lr>",), None, None, "methods")
    binding = decode(msgpack.packb((1, 5, (row,)))).bindings[0]
    assert binding == Binding(*row)
    assert binding.flow is None


def test_a_usual_contact_is_small() -> None:
    """The budget is 600 bytes a contact in the table; LMDB adds about a fifth to the record."""
    binding = Binding(
        "sip:alice@192.0.2.15:5060;transport=udp;line=sr-1234567890abcdef",
        1000,
        1_800_000_000,
        "3848276298220188511@phone.example.com",
        4711,
        ("<sip:edge1.example.net;lr>",),
        "<urn:uuid:00000000-0000-1000-8000-000A95A0E128>",
        1,
    )
    assert len(RecordWriter().encode(Record(1_800_000_000, (binding,)))) < 300
