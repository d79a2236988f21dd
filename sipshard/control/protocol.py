"""Requests and answers of the control socket.

::

    {"verb": "status"}
    {"verb": "registrations", "aor": "alice@example.com", "limit": 100, "after": null}

(``aor`` null or absent for all, ``after`` the ``next`` of the page before)

An answer is the object asked for, or ``{"error": "…"}``. A request that cannot be understood gets
an error and the connection goes on; a line longer than :data:`REQUEST_BYTES` ends it, because where
the next one begins is not known.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

SOCKET_NAME = "control.sock"

# The longest sensible request is an address-of-record and a page key.
REQUEST_BYTES = 16 * 1024

DEFAULT_PAGE = 100
LARGEST_PAGE = 1000

Answer = dict[str, Any]


class RequestError(Exception):
    """A request that cannot be answered; its text goes to the client."""


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """Asks for the state of the whole server."""


@dataclass(frozen=True, slots=True)
class RegistrationsRequest:
    """Asks for the bindings of one address-of-record, or for a page of all of them.

    ``after`` is the ``next`` of the page before. ``limit`` counts addresses-of-record.
    """

    aor: str | None = None
    limit: int = DEFAULT_PAGE
    after: str | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LARGEST_PAGE:
            raise RequestError(f"limit is {self.limit}; it goes from 1 to {LARGEST_PAGE}")


Request = StatusRequest | RegistrationsRequest


def parse_request(line: bytes) -> Request:
    """Reads one line. Raises RequestError."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        raise RequestError("the request is no JSON") from None
    if not isinstance(fields, dict) or "verb" not in fields:
        raise RequestError('the request is no object with a "verb"')
    match fields.pop("verb"):
        case "status":
            _refuse(fields)
            return StatusRequest()
        case "registrations":
            return _registrations(fields)
        case verb:
            raise RequestError(f"there is no verb {verb!r}; there are status and registrations")


def encode_request(request: Request) -> bytes:
    """One line for :func:`parse_request`."""
    match request:
        case StatusRequest():
            return encode({"verb": "status"})
        case RegistrationsRequest(aor, limit, after):
            return encode({"verb": "registrations", "aor": aor, "limit": limit, "after": after})


def encode(answer: Answer) -> bytes:
    """One line. What is no UTF-8 in an address-of-record is escaped, not lost."""
    return json.dumps(answer, separators=(",", ":")).encode("ascii") + b"\n"


def _registrations(fields: dict[str, object]) -> RegistrationsRequest:
    aor, after = fields.pop("aor", None), fields.pop("after", None)
    limit = fields.pop("limit", DEFAULT_PAGE)
    _refuse(fields)
    if not isinstance(aor, str | None) or not isinstance(after, str | None):
        raise RequestError("aor and after are texts or null")
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise RequestError("limit is a whole number")
    return RegistrationsRequest(aor, limit, after)


def _refuse(unknown: dict[str, object]) -> None:
    if unknown:
        raise RequestError(f"unknown field {sorted(unknown)[0]!r}")
