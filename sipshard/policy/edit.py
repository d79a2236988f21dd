"""Edits: what a policy changes in a message on its way. They are values, applied in their order.

A name finds its field in any case, in compact and long form, and whatever stands before the colon
(RFC 3261 §7.3.1, §7.3.3). What only the server writes cannot be edited: Via, Route, Record-Route,
Call-ID, CSeq, From, To, Max-Forwards, Max-Breadth, Content-Length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sipshard.sip import check_edits

PlainEdit: TypeAlias = tuple[str, str, str | bytes]
"""An edit as the engine takes it: (kind, name or content type, value or body)."""


@dataclass(frozen=True, slots=True)
class Add:
    """Adds a header field behind all others."""

    name: str
    value: str

    def __post_init__(self) -> None:
        check_edits([plain(self)])


@dataclass(frozen=True, slots=True)
class Remove:
    """Removes every header field of this name."""

    name: str

    def __post_init__(self) -> None:
        check_edits([plain(self)])


@dataclass(frozen=True, slots=True)
class Replace:
    """Puts one field where the first of this name was, or behind all others if there was none."""

    name: str
    value: str

    def __post_init__(self) -> None:
        check_edits([plain(self)])


@dataclass(frozen=True, slots=True)
class Body:
    """Replaces the body, with Content-Type and Content-Length. ``Body(b"", "")`` removes it."""

    content: bytes
    content_type: str

    def __post_init__(self) -> None:
        check_edits([plain(self)])


Edit: TypeAlias = Add | Remove | Replace | Body


def plain(edit: Edit) -> PlainEdit:
    """The edit as the engine takes it. Raises TypeError for what is none."""
    match edit:
        case Add(name, value):
            return ("add", name, value)
        case Remove(name):
            return ("remove", name, "")
        case Replace(name, value):
            return ("replace", name, value)
        case Body(content, content_type):
            return ("body", content_type, content)
    raise TypeError(f"{edit!r} is no edit: Add, Remove, Replace and Body are")


def plain_edits(edits: Sequence[Edit]) -> list[PlainEdit]:
    """All edits as the engine takes them."""
    return [plain(edit) for edit in edits]
