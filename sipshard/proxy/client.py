"""Requests of the server's own: the ``client`` that handlers ask for, above the engine's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Protocol, final

from sipshard.policy.client import RequestFailed, RequestTimeout, TooManyRequests
from sipshard.sip import Response, Uri


class SendingEngine(Protocol):
    """The part of the engine that sends requests."""

    def send_request(
        self,
        method: str,
        uris: tuple[str, str, str],
        route: Sequence[str],
        headers: Sequence[tuple[str, str]],
        body: bytes,
    ) -> int:
        """Sends a request to (Request-URI, From, To); its number.

        Raises ValueError, BlockingIOError when there are too many, OSError when there is no way.
        """

    def abandon_request(self, number: int) -> None:
        """Sends it no longer, and tells no outcome."""


@final
class OwnRequests:
    """The requests that handlers of one worker wait for. The engine bounds their number."""

    def __init__(
        self, engine: SendingEngine, loop: asyncio.AbstractEventLoop, from_uri: str
    ) -> None:
        self._engine = engine
        self._loop = loop
        self._from_uri = from_uri
        self._waiting: dict[int, asyncio.Future[Response]] = {}

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
        """As :meth:`sipshard.policy.client.Client.request`."""
        uris = (str(uri), str(from_uri or self._from_uri), str(to_uri or uri))
        try:
            number = self._engine.send_request(method, uris, route, headers, body)
        except BlockingIOError as error:
            raise TooManyRequests(f"{method} {uri}: {error}") from None
        except OSError as error:
            raise RequestFailed(f"{method} {uri}: {error}") from None
        name = f"{method} {uri}"
        outcome: asyncio.Future[Response] = self._loop.create_future()
        self._waiting[number] = outcome
        timer = self._loop.call_later(timeout, partial(_expire, outcome, f"{name}: {timeout:g} s"))
        try:
            return await outcome
        finally:
            timer.cancel()
            # Also after the handler was cancelled, because its caller has given up.
            if self._waiting.pop(number, None) is not None:
                self._engine.abandon_request(number)

    def settle(self, kind: str, number: int, response: Response | None) -> None:
        """What the engine tells of request ``number``; nothing if nobody waits any more."""
        outcome = self._waiting.pop(number, None)
        if outcome is None or outcome.done():
            return
        if response is not None:
            outcome.set_result(response)
        elif kind == "timeout":
            outcome.set_exception(RequestTimeout("nobody has answered"))
        else:
            outcome.set_exception(RequestFailed("there is no way to the next hop"))


def _expire(outcome: asyncio.Future[Response], what: str) -> None:
    if not outcome.done():
        outcome.set_exception(RequestTimeout(f"{what} without an answer"))
