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

from sipshard.policy.client import (
    Client,
    RequestFailed,
    RequestNotAnsweredError,
    RequestTimeout,
    TooManyRequests,
)
from sipshard.policy.decision import (
    Decision,
    Forward,
    ForwardStateless,
    Redirect,
    Reject,
    Respond,
    Save,
)
from sipshard.policy.edit import Add, Body, Edit, Remove, Replace
from sipshard.policy.router import Location, Router, Server
from sipshard.policy.target import Destination, Registered, Target
from sipshard.sip import Contact, Request, Response, Uri

__all__ = [
    "Add",
    "Body",
    "Client",
    "Contact",
    "Decision",
    "Destination",
    "Edit",
    "Forward",
    "ForwardStateless",
    "Location",
    "Redirect",
    "Registered",
    "Reject",
    "Remove",
    "Replace",
    "Request",
    "RequestFailed",
    "RequestNotAnsweredError",
    "RequestTimeout",
    "Respond",
    "Response",
    "Router",
    "Save",
    "Server",
    "Target",
    "TooManyRequests",
    "Uri",
]
