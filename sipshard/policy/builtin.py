"""The policy of a server without a policy file, written as an operator would write it.

REGISTER for our domains updates bindings, OPTIONS to the server itself is answered, everything
else for our domains goes to the bindings of its Request-URI. Foreign domains get 403.
"""

from __future__ import annotations

from sipshard.policy.decision import Decision, Forward, Reject, Respond, Save
from sipshard.policy.router import Location, Router, Server
from sipshard.policy.served import SUPPORTED_EXTENSIONS, unsupported_extensions
from sipshard.sip import Request

# RFC 3261 §16.6 step 4, RFC 6665 §4.3 and RFC 3515: the methods that can create a dialog. A NOTIFY
# does when the SUBSCRIBE was forked.
DIALOG_FORMING = frozenset({"INVITE", "SUBSCRIBE", "NOTIFY", "REFER"})

METHODS = (
    *("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "PRACK", "UPDATE", "INFO"),
    *("SUBSCRIBE", "NOTIFY", "REFER", "MESSAGE", "PUBLISH"),
)
"""What passes through here or is answered; methods that nobody has named yet pass as well."""

CAPABILITIES = (
    ("Allow", ", ".join(METHODS)),
    ("Accept", "*/*"),
    ("Supported", ", ".join(sorted(SUPPORTED_EXTENSIONS))),
)
"""What RFC 3261 §11.2 wants to see in the answer to OPTIONS."""

router = Router()


@router.request("REGISTER")
def register(request: Request, server: Server) -> Decision:
    """RFC 3261 §10.3, steps 1 and 5; the registrar does the rest."""
    if not server.serves(request.uri):
        return Reject(403, "Domain Not Served")
    to_uri = request.to_uri
    if not server.serves(to_uri):
        return Reject(404)
    return Save(to_uri.aor)


@router.request("OPTIONS")
def options(request: Request, location: Location, server: Server) -> Decision:
    """RFC 3261 §11: to the server itself when the Request-URI has no user, else to the user."""
    if request.uri.user is not None or not server.serves(request.uri):
        return route(request, location, server)
    if unsupported := unsupported_extensions(request):
        return Reject(420, headers=[("Unsupported", ", ".join(unsupported))])
    return Respond(200, headers=CAPABILITIES)


@router.request("*")
def route(request: Request, location: Location, server: Server) -> Decision:
    """RFC 3261 §16.5: the target set of a URI that we are responsible for is its bindings."""
    uri = request.uri
    if not server.serves(uri):
        return Reject(403, "Domain Not Served")
    bindings = location.lookup(uri)
    if not bindings:
        return Reject(480)
    return Forward(bindings, record_route=request.method in DIALOG_FORMING)
