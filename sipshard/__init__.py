"""sipshard: SIP registrar, proxy and session border controller for bare metal.

What is here is the whole interface of a policy script::

    from sipshard import Forward, Reject, Router

    router = Router()

    @router.request("INVITE")
    def invite(request, location):
        bindings = location.lookup(request.uri)
        return Forward(bindings, record_route=True) if bindings else Reject(480)
"""

from __future__ import annotations

from sipshard.policy.decision import (
    Decision,
    Forward,
    Redirect,
    Registered,
    Reject,
    Respond,
    Save,
)
from sipshard.policy.router import Location, Router, Server
from sipshard.sip import Contact, Request, Response, Uri

__all__ = [
    "Contact",
    "Decision",
    "Forward",
    "Location",
    "Redirect",
    "Registered",
    "Reject",
    "Request",
    "Respond",
    "Response",
    "Router",
    "Save",
    "Server",
    "Uri",
]
