"""What a handler gets that asks for ``client``: requests of the server's own, and their responses.

::

    RequestNotAnsweredError
    ├── RequestTimeout    nobody answered in time
    ├── RequestFailed     there is no way to the next hop
    └── TooManyRequests   the worker waits for so many responses already

A request that makes no sense (a method that needs a dialog, a line break in a header field) raises
ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sipshard.sip import Response, Uri


class RequestNotAnsweredError(Exception):
    """A request of the server's own has got no final response."""


class RequestTimeout(RequestNotAnsweredError):  # noqa: N818  named as policies read best
    """Nobody answered in time."""


class RequestFailed(RequestNotAnsweredError):  # noqa: N818
    """It could not be sent: there is no way to its next hop."""


class TooManyRequests(RequestNotAnsweredError):  # noqa: N818
    """The worker waits for so many responses already; nothing was sent."""


class Client(Protocol):
    """Sends requests of the server's own outside of dialogs (RFC 3261 §8.1)."""

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
        """Sends a request and waits for its final response, of whatever status.

        ``timeout`` is in seconds; after 32 (64·T1) nobody can answer any more. ``from_uri``
        defaults to the server's first domain, ``to_uri`` to ``uri``. A ``body`` needs a
        Content-Type in ``headers``. INVITE, ACK and CANCEL are refused: they need a user agent
        with dialogs. Raises what the module's tree shows, and ValueError.
        """
