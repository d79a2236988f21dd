"""Tests of a policy without a socket: build a request, ask the router, look at the decision.

::

    from sipshard import Forward, Reject
    from sipshard.testing import FakeLocation, decide, request
    from route import router

    def test_unknown_user_is_unavailable():
        assert decide(router, request("INVITE", "sip:nobody@example.com")) == Reject(480)

    def test_call_goes_to_the_phone():
        location = FakeLocation({"bob@example.com": ["sip:bob@192.0.2.7"]})
        decision = decide(router, request("INVITE", "sip:bob@example.com"), location=location)
        assert decision == Forward(location.lookup("bob@example.com"), record_route=True)
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sipshard.policy.decision import Decision, FailureHandler, Forward
from sipshard.policy.edit import Edit
from sipshard.policy.router import Handler, Router, fill_in
from sipshard.policy.served import ServedDomains
from sipshard.sip import Request, Response, Uri, check_edits

__all__ = [
    "FakeBinding",
    "FakeClient",
    "FakeLocation",
    "SentRequest",
    "decide",
    "decide_on_failure",
    "decide_on_response",
    "request",
    "response",
]

_sequence = itertools.count(1)


class FakeBinding(NamedTuple):
    """A contact as :class:`FakeLocation` returns it."""

    uri: str
    q_milli: int = 1000
    path: tuple[str, ...] = ()
    flow: str | None = None


class FakeLocation:
    """A location service that knows what it is given: {"user@host": [contact URI or binding]}."""

    def __init__(self, bindings: Mapping[str, Iterable[str | FakeBinding]] | None = None) -> None:
        self._bindings = {
            aor: tuple(FakeBinding(each) if isinstance(each, str) else each for each in contacts)
            for aor, contacts in (bindings or {}).items()
        }

    def lookup(self, aor: Uri | str) -> tuple[FakeBinding, ...]:
        """The bindings of ``aor``, given as a SIP URI or as "user@host"."""
        if isinstance(aor, str) and aor.partition(":")[0].lower() in ("sip", "sips"):
            aor = Uri.parse(aor)
        return self._bindings.get(aor if isinstance(aor, str) else aor.aor, ())


class SentRequest(NamedTuple):
    """A request that a policy has sent through a :class:`FakeClient`."""

    method: str
    uri: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    timeout: float
    from_uri: str | None
    to_uri: str | None
    route: tuple[str, ...]


class FakeClient:
    """Sends nothing: notes each request in ``sent``, and answers it with the next of ``answers``.

    An answer is the status of a final response, or an exception that is raised, such as
    ``RequestTimeout()``; the last one is repeated. A request that the server would refuse
    raises ValueError here too.
    """

    def __init__(self, *answers: int | Exception) -> None:
        self.sent: list[SentRequest] = []
        self._answers = list(answers) or [200]

    async def request(
        self,
        method: str,
        uri: str | Uri,
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        timeout: float = 5.0,
        from_uri: str | Uri | None = None,
        to_uri: str | Uri | None = None,
        route: Sequence[str] = (),
    ) -> Response:
        """Notes the request and answers it."""
        if method in ("INVITE", "ACK", "CANCEL"):
            raise ValueError(f"{method} needs a user agent with dialogs")
        if body and not any(name.lower() in ("content-type", "c") for name, _ in headers):
            raise ValueError("a body needs a content type such as text/plain")
        check_edits([("add", name, value) for name, value in headers])
        message = request(method, str(Uri.parse(str(uri))))
        self.sent.append(
            SentRequest(
                method,
                str(uri),
                tuple(headers),
                body,
                timeout,
                None if from_uri is None else str(from_uri),
                None if to_uri is None else str(to_uri),
                tuple(route),
            )
        )
        answer = self._answers[0] if len(self._answers) == 1 else self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return response(answer, message)


def request(
    method: str = "INVITE",
    uri: str = "sip:bob@example.com",
    *,
    from_uri: str = "sip:alice@example.com",
    to_uri: str | None = None,
    headers: Sequence[tuple[str, str]] = (),
    body: bytes = b"",
    source: tuple[str, int] = ("192.0.2.1", 5060),
    transport: str = "udp",
    peer_names: Sequence[str] = (),
) -> Request:
    """A well-formed request as it would arrive from ``source`` over ``transport``.

    Each call makes a new Call-ID. ``headers`` come behind the mandatory ones; one that names a
    mandatory header replaces it. ``to_uri`` defaults to ``uri``, for REGISTER to ``from_uri``.
    ``peer_names`` are what its sender would have proven by a TLS certificate. Raises ValueError
    when what comes out is no request.
    """
    number = next(_sequence)
    host = f"[{source[0]}]" if ":" in source[0] else source[0]
    if to_uri is None:
        to_uri = from_uri if method == "REGISTER" else uri
    fields = {
        "via": (
            "Via",
            f"SIP/2.0/{transport.upper()} {host}:{source[1]};branch=z9hG4bKtest{number}",
        ),
        "max-forwards": ("Max-Forwards", "70"),
        "from": ("From", f"<{from_uri}>;tag=test{number}"),
        "to": ("To", f"<{to_uri}>"),
        "call-id": ("Call-ID", f"test{number}@{host}"),
        "cseq": ("CSeq", f"{number} {method}"),
        "content-length": ("Content-Length", str(len(body))),
    }
    given = {name.lower() for name, _ in headers}
    kept = [field for name, field in fields.items() if name not in given]
    lines = [f"{method} {uri} SIP/2.0", *(f"{name}: {value}" for name, value in [*kept, *headers])]
    return Request.parse(_message(lines, body), source, transport, peer_names)


def response(status: int, to: Request, *, headers: Sequence[tuple[str, str]] = ()) -> Response:
    """A response with ``status`` to the request ``to``, as an on_failure handler gets it."""
    copied = [(name, value) for name in ("Via", "From") for value in to.headers(name)]
    to_value = to.header("To") or ""
    copied.append(("To", to_value if to.to_tag else f"{to_value};tag=test"))
    copied += [("Call-ID", to.call_id), ("CSeq", f"{to.cseq} {to.method}")]
    fields = [*copied, *headers, ("Content-Length", "0")]
    lines = [f"SIP/2.0 {status} Test", *(f"{name}: {value}" for name, value in fields)]
    return Response.parse(_message(lines, b""))


def decide(
    router: Router,
    request: Request,
    *,
    location: object | None = None,
    client: object | None = None,
    domains: Sequence[str] = ("example.com",),
) -> Decision | None:
    """What the router's handler returns for ``request``; None when it has no handler for it.

    An ``async def`` handler is run to its end. ``location`` is an empty one if not given,
    ``client`` one that answers 200; ``domains`` are those that the server serves. Raises what the
    handler raises.
    """
    handler = router.handler_for(request.method)
    if handler is None:
        return None
    return _run(handler, (request,), _services(location, client, domains))


def decide_on_failure(
    decision: Decision,
    request: Request,
    response: Response,
    *,
    location: object | None = None,
    client: object | None = None,
    domains: Sequence[str] = ("example.com",),
) -> Decision | None:
    """What the ``on_failure`` of ``decision`` returns; None means that the response goes on."""
    handler: FailureHandler | None = decision.on_failure if isinstance(decision, Forward) else None
    if handler is None:
        return None
    return _run(handler, (request, response), _services(location, client, domains))


def decide_on_response(
    decision: Decision,
    request: Request,
    response: Response,
    *,
    location: object | None = None,
    client: object | None = None,
    domains: Sequence[str] = ("example.com",),
) -> Sequence[Edit]:
    """The edits that the ``on_response`` of ``decision`` returns; none without one."""
    handler = decision.on_response if isinstance(decision, Forward) else None
    if handler is None:
        return ()
    ready = fill_in(handler, _services(location, client, domains), 2)
    return ready(request, response) or ()


def _services(
    location: object | None, client: object | None, domains: Sequence[str]
) -> Mapping[str, object]:
    return {
        "client": FakeClient() if client is None else client,
        "location": FakeLocation() if location is None else location,
        "server": ServedDomains(domains, [("127.0.0.1", 5060)]),
    }


def _run(
    handler: Handler, arguments: tuple[object, ...], services: Mapping[str, object]
) -> Decision | None:
    result = fill_in(handler, services, len(arguments))(*arguments)
    if inspect.iscoroutine(result):
        result = asyncio.run(result)
    decision: Decision | None = result
    return decision


def _message(lines: Sequence[str], body: bytes) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode(errors="surrogateescape") + body
