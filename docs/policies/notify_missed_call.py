"""Tells a user by a text message who has called in vain, and keeps trunk headers from phones.

The caller waits for his 486 while the phones are told, so they have one second to take the message.
A caller who hangs up himself leaves no failure, and therefore no message.
"""

import asyncio

from sipshard import (
    Client,
    Decision,
    Edit,
    Forward,
    Location,
    Registered,
    Reject,
    Remove,
    Request,
    RequestNotAnsweredError,
    Response,
    Router,
    Save,
    Server,
)

NOTIFY_TIMEOUT_S = 1.0
# 408 nobody answered in time, 480 not available, 486 busy, 600 busy everywhere.
MISSED = (408, 480, 486, 600)
# What a phone must neither see nor make its callers believe.
FOR_TRUNKS_ONLY = (Remove("P-Asserted-Identity"), Remove("P-Charging-Vector"))

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
        return Reject(480)
    return Forward(
        bindings,
        record_route=True,
        ring_timeout=30.0,
        edits=FOR_TRUNKS_ONLY,
        on_response=hide_gateway,
        on_failure=missed,
    )


def hide_gateway(request: Request, response: Response) -> list[Edit] | None:
    # Callers need not know what stands in our network; a phone may say what it is.
    is_gateway = "gateway" in (response.header("Server") or "").lower()
    return [Remove("Server")] if is_gateway else None


async def missed(
    request: Request, response: Response, location: Location, client: Client
) -> Decision | None:
    if response.status in MISSED:
        bindings = location.lookup(request.uri)
        await asyncio.gather(*(notify(client, binding, request) for binding in bindings))
    return None


async def notify(client: Client, binding: Registered, missed: Request) -> None:
    try:
        await client.request(
            "MESSAGE",
            binding.uri,
            route=binding.path,
            to_uri=f"sip:{missed.uri.aor}",
            headers=[("Content-Type", "text/plain")],
            body=f"Missed call from {missed.from_uri}".encode("ascii", "replace"),
            timeout=NOTIFY_TIMEOUT_S,
        )
    except RequestNotAnsweredError:
        # It is a courtesy: the failure goes to the caller, whatever became of it.
        return
