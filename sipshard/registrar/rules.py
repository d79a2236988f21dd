"""The rules of RFC 3261 §10.3 as pure functions: no clock, no table, no engine.

:func:`prepare` is what can be decided from the request alone (steps 2, 6 and the intervals of
step 7) and :func:`apply` what needs the bindings (the rest of step 7). Both return a
:class:`Refusal` instead of raising: refusals are everyday traffic.

Where the RFC leaves a choice:

*   Too many contacts get 403. A 503 would tell the phone that the whole server is overloaded and
    to take everything elsewhere (§21.5.4); a 403 is not to be repeated (§21.4.4).
*   A contact that occurs twice in one request counts once, with its last interval: one request
    has one CSeq, so the ordering rule of step 7 cannot rank them.
*   A request that repeats what is stored, CSeq included, is the retransmission of one whose
    transaction died with its worker. It gets the answer that was lost. Strictly read, step 7 would
    fail it, and the phone would be told 500 for a registration that succeeded.
*   A Path is kept whether or not the phone supports the extension (RFC 3327 §5.3 leaves it to the
    registrar): an edge proxy that adds one is the only way back to the phone. It is repeated in the
    response only to those who list ``path`` in Supported.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sipshard.policy.decision import HeaderFields
from sipshard.policy.served import unsupported_extensions
from sipshard.registrar.binding import Binding
from sipshard.sip import Request, Uri

ONE_HOUR_S = 3600
"""RFC 3261 §10.3 step 7: an interval of an hour or more is never too brief."""

RETRANSMISSION_S = 32
"""64·T1, for which a client repeats a request (RFC 3261 §17.1.2.2, Timer F)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A failure response: the update has no effect at all."""

    status: int
    reason: str | None = None
    headers: HeaderFields = ()


class Limits(NamedTuple):
    """What the operator allows. Seconds, except ``max_contacts``."""

    max_contacts: int = 10
    default_expires_s: int = 3600
    min_expires_s: int = 60
    max_expires_s: int = 86_400


class Update(NamedTuple):
    """What one REGISTER asks for.

    ``contacts`` are the bindings as they shall be afterwards; one whose ``expires_at_s`` is
    REMOVED shall be gone. Without contacts it only asks what is there.
    """

    call_id: str
    cseq: int
    contacts: tuple[Binding, ...]
    removes_all: bool = False


REMOVED = 0
"""The expiry time of a contact that came with an interval of zero."""

# RFC 3261 §25.1: contact-params = c-p-q / c-p-expires / contact-extension, the latter with a token
# or a quoted string, in which a semicolon separates nothing.
_PARAMETER = re.compile(r"""([^\s;="]+)(?:\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;"]+))?""")
_KNOWN = frozenset({"q", "expires", "+sip.instance", "reg-id"})

OUT_OF_ORDER = Refusal(500, "Out of Order")
TOO_MANY_CONTACTS = Refusal(403, "Too Many Contacts")


def prepare(request: Request, limits: Limits, now_s: int) -> Update | Refusal:
    """Steps 2, 6 and the first half of 7: what the request asks for, if it may ask for that."""
    if unsupported := unsupported_extensions(request):
        return Refusal(420, None, (("Unsupported", ", ".join(unsupported)),))
    try:
        contacts = request.contacts
    except ValueError:
        return Refusal(400, "Bad Contact")
    call_id, cseq = request.call_id, request.cseq
    if request.has_star_contact:
        if contacts or request.expires_s != 0:
            return Refusal(400, "Bad Contact")
        return Update(call_id, cseq, (), True)
    if not contacts:
        return Update(call_id, cseq, ())
    header_expires_s = request.expires_s
    path = tuple(request.path)
    # Behind another proxy the connection is that proxy's, and its Path leads to the phone.
    flow = None if path else request.flow
    wanted = []
    for contact in contacts:
        expires_s = contact.expires_s
        if expires_s is None:
            expires_s = limits.default_expires_s if header_expires_s is None else header_expires_s
        if 0 < expires_s < limits.min_expires_s and expires_s < ONE_HOUR_S:
            return Refusal(423, None, (("Min-Expires", str(limits.min_expires_s)),))
        wanted.append(
            Binding(
                contact.uri,
                contact.q_milli,
                now_s + min(expires_s, limits.max_expires_s) if expires_s else REMOVED,
                call_id,
                cseq,
                path,
                contact.instance,
                contact.reg_id,
                _other_parameters(contact.parameters),
                flow,
            )
        )
    if len(wanted) > 1:
        wanted = _last_of_each(wanted)
    return Update(call_id, cseq, tuple(wanted))


def apply(
    update: Update, bindings: Sequence[Binding], now_s: int, max_contacts: int
) -> tuple[Binding, ...] | Refusal:
    """The second half of step 7: the bindings after the update, all of it or nothing.

    ``bindings`` may hold some that have expired; they are not among those returned.
    """
    live = [binding for binding in bindings if binding.expires_at_s > now_s]
    call_id, cseq, contacts, removes_all = update
    if removes_all:
        late = any(each.call_id == call_id and each.cseq >= cseq for each in live)
        return OUT_OF_ORDER if late else ()
    has_grown = False
    for contact in contacts:
        index = find(contact.uri, live)
        if index is None:
            if contact.expires_at_s != REMOVED:
                live.append(contact)
                has_grown = True
            continue
        stored = live[index]
        if stored.call_id == call_id and stored.cseq >= cseq:
            if not _is_repetition(contact, stored):
                return OUT_OF_ORDER
        elif contact.expires_at_s == REMOVED:
            del live[index]
        else:
            live[index] = contact
    if has_grown and len(live) > max_contacts:
        return TOO_MANY_CONTACTS
    return tuple(live)


def find(uri: str, among: Sequence[Binding]) -> int | None:
    """The index of the contact whose URI is equal by RFC 3261 §19.1.4.

    Phones repeat their contact letter by letter, so parsing is left for those that do not.
    """
    for index, each in enumerate(among):
        if each.uri == uri:
            return index
    if not among:
        return None
    wanted = _parsed(uri)
    if wanted is None:
        return None
    for index, each in enumerate(among):
        if _parsed(each.uri) == wanted:
            return index
    return None


def _parsed(uri: str) -> Uri | None:
    """None for a scheme that is not SIP's: such contacts are equal when their text is."""
    try:
        return Uri.parse(uri)
    except ValueError:
        return None


def _other_parameters(parameters: str) -> str:
    """Contact parameters without those that have fields of their own, as they were written."""
    if not parameters:
        return ""
    kept = [each[0] for each in _PARAMETER.finditer(parameters) if each[1].lower() not in _KNOWN]
    return ";".join(kept)


def _last_of_each(contacts: list[Binding]) -> list[Binding]:
    kept: list[Binding] = []
    for contact in contacts:
        index = find(contact.uri, kept)
        if index is None:
            kept.append(contact)
        else:
            kept[index] = contact
    return kept


def _is_repetition(contact: Binding, stored: Binding) -> bool:
    """Whether the request that wrote ``stored`` has come again, within its own lifetime."""
    lateness_s = contact.expires_at_s - stored.expires_at_s
    if not 0 <= lateness_s <= RETRANSMISSION_S:
        return False
    return contact._replace(expires_at_s=stored.expires_at_s) == stored
