"""A binding: one contact of one address-of-record."""

from __future__ import annotations

from typing import NamedTuple


class Binding(NamedTuple):
    """One registered contact (RFC 3261 §10.3), as it is stored and as policy sees it.

    A named tuple because it is made on every lookup: it costs a third of a frozen dataclass.

    ``uri``           the contact address as the phone wrote it
    ``q_milli``       preference in thousandths, 0..1000
    ``expires_at_s``  Unix time in seconds
    ``call_id``, ``cseq``  of the REGISTER that wrote it last; they order updates (§10.3 step 7)
    ``path``          route set towards the contact, nearest proxy first (RFC 3327)
    ``instance``, ``reg_id``  RFC 5626, the URN without brackets; kept for the response only
    ``parameters``    other Contact parameters as written
    ``flow``          the connection that it was registered through, by which alone a phone behind a
                      NAT or a WebSocket client is reached (RFC 5626 §5.3); None for UDP
    """

    uri: str
    q_milli: int
    expires_at_s: int
    call_id: str
    cseq: int
    path: tuple[str, ...] = ()
    instance: str | None = None
    reg_id: int | None = None
    parameters: str = ""
    flow: str | None = None
