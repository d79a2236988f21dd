"""Refuses what scanners and misconfigured phones send, before the built-in rules would answer."""

from sipshard import Decision, Forward, Location, Reject, Request, Router, Server

SCANNERS = ("friendly-scanner", "sipvicious", "sipcli")

router = Router()


@router.request("INVITE", "MESSAGE", "OPTIONS")
def guarded(request: Request, location: Location, server: Server) -> Decision:
    if is_scanner(request):
        return Reject(403)
    if request.header("P-Asserted-Identity") is not None:
        # Only a trunk may assert an identity, and trunks do not come this way.
        return Reject(403, "Identity Not Accepted")
    if len(request.headers("Diversion")) > 5:
        return Reject(482, headers=[("Warning", '399 example.com "too many diversions"')])
    if not server.serves(request.uri):
        return Reject(403)
    bindings = location.lookup(request.uri)
    return Forward(bindings, record_route=request.method == "INVITE") if bindings else Reject(480)


def is_scanner(request: Request) -> bool:
    agent = (request.header("User-Agent") or "").lower()
    return any(name in agent for name in SCANNERS)
