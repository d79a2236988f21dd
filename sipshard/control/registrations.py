"""The registrations, page by page, for ``sipshard registrations``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sipshard.control.protocol import Answer, RegistrationsRequest, RequestError
from sipshard.registrar.binding import Binding
from sipshard.registrar.location import LocationService
from sipshard.sip import Uri


def registrations(location: LocationService, request: RegistrationsRequest, now_s: float) -> Answer:
    """The answer to ``{"verb": "registrations"}``; ``now_s`` is Unix time.

    Raises RequestError when the address-of-record cannot be read.
    """
    if request.aor is None:
        page = location.page(request.after, request.limit)
        following = page[-1][0] if len(page) == request.limit else None
        return {"registrations": [_shown(*each, now_s) for each in page], "next": following}
    for aor in _spellings(request.aor):
        if bindings := location.lookup(aor):
            return {"registrations": [_shown(aor, bindings, now_s)], "next": None}
    return {"registrations": [], "next": None}


def _spellings(written: str) -> Iterator[str]:
    """What ``written`` can mean: itself, as the pages show it, or what the URI of a phone becomes.

    The latter is RFC 3261 §10.3 step 5: escapes are taken off, and the host's case is no matter.
    """
    has_scheme = written.partition(":")[0].lower() in ("sip", "sips")
    if not has_scheme:
        yield written
    try:
        yield Uri.parse(written if has_scheme else f"sip:{written}").aor
    except ValueError as error:
        raise RequestError(f"{written!r} is no address-of-record: {error}") from None


def _shown(aor: str, bindings: Sequence[Binding], now_s: float) -> dict[str, Any]:
    return {"aor": aor, "bindings": [_binding(binding, now_s) for binding in bindings]}


def _binding(binding: Binding, now_s: float) -> dict[str, Any]:
    return {
        "uri": binding.uri,
        "q": binding.q_milli / 1000,
        "expires_s": max(0, int(binding.expires_at_s - now_s)),
        "call_id": binding.call_id,
        "cseq": binding.cseq,
        "path": list(binding.path),
        "instance": binding.instance,
        "reg_id": binding.reg_id,
        "parameters": binding.parameters,
    }
