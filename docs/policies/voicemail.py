"""Phones first, voicemail when nobody answers: the policy of a small office."""

from sipshard import Decision, Forward, Location, Reject, Request, Response, Router, Save, Server

VOICEMAIL = "sip:voicemail.example.com"
RING_S = 25.0
# 408 nobody answered in time, 480 nobody is registered, 486 busy, 600 busy everywhere.
GOES_TO_VOICEMAIL = (408, 480, 486, 600)

router = Router()


@router.request("REGISTER")
def register(request: Request, server: Server) -> Decision:
    if not server.serves(request.uri) or not server.serves(request.to_uri):
        return Reject(403)
    return Save(request.to_uri.aor)


@router.request("INVITE")
def call(request: Request, location: Location, server: Server) -> Decision:
    if not server.serves(request.uri):
        return Reject(403)
    bindings = location.lookup(request.uri)
    if not bindings:
        return to_voicemail(request)
    return Forward(bindings, record_route=True, ring_timeout=RING_S, on_failure=unanswered)


def unanswered(request: Request, response: Response) -> Decision | None:
    return to_voicemail(request) if response.status in GOES_TO_VOICEMAIL else None


def to_voicemail(request: Request) -> Decision:
    # The mailbox is the user part; the voicemail server is a peer, so no proxy stands behind it.
    _, _, host = VOICEMAIL.partition(":")
    return Forward(f"sip:{request.uri.user or 'unknown'}@{host}", record_route=True)
