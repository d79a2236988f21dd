"""The router: which handler decides about which method.

A handler's first parameter is the request. Everything else it needs it asks for by name:

==========  =====================================================================================
name        what it gets
==========  =====================================================================================
client      requests of the server's own: ``await client.request("MESSAGE", uri, ...)``
location    the location service: ``location.lookup(uri)`` gives the bindings, best first
server      what this server is: ``server.serves(uri)`` tells whether a URI is one of ours
==========  =====================================================================================

Names are checked when the handler is registered, so a misspelt one stops the start, not a call.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, Protocol, TypeAlias, TypeVar

from sipshard.policy.target import Registered
from sipshard.sip import Uri

SERVICES = ("client", "location", "server")
"""The names that a handler may ask for."""

ANY_METHOD = "*"

# RFC 3261 §25.1: Method is a token, and §7.1 compares it case-sensitively. All standard methods are
# upper case, so a lower-case letter in a policy is a slip of the pen, not an extension.
_METHOD = re.compile(r"[A-Z0-9.!%*_+`'~-]+")

Handler: TypeAlias = Callable[..., Any]
Ready: TypeAlias = Callable[..., Any]
"""A handler with its services filled in: only request (and response) are left to give."""

H = TypeVar("H", bound=Handler)


class Location(Protocol):
    """Where the contacts of our users are found."""

    def lookup(self, aor: Uri | str) -> Sequence[Registered]:
        """The live bindings of an address-of-record; empty when there is none."""


class Server(Protocol):
    """What a handler may ask about the server itself."""

    def serves(self, uri: Uri) -> bool:
        """Whether the URI's domain is one of ours, or the URI is our own address."""


class Router:
    """Handlers by method. A policy file defines one, by convention named ``router``."""

    __slots__ = ("_handlers",)

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def request(self, *methods: str) -> Callable[[H], H]:
        """Registers the decorated function for ``methods``; ``"*"`` stands for all others.

        The function may be ``def`` or ``async def``. It returns a
        :data:`~sipshard.policy.decision.Decision`.

        Raises ValueError for a method that is none or has a handler already, TypeError for a
        function that cannot be called with what is there to give.
        """
        if not methods:
            raise ValueError('request() needs at least one method, or "*"')
        for method in methods:
            if not _METHOD.fullmatch(method):
                raise ValueError(f"{method!r} is no method; methods are upper case, as INVITE")
            if method in self._handlers:
                raise ValueError(f"{method} has a handler already")

        def register(handler: H) -> H:
            services_wanted(handler, 1)
            self._handlers.update(dict.fromkeys(methods, handler))
            return handler

        return register

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods with a handler of their own, in the order of their registration."""
        return tuple(method for method in self._handlers if method != ANY_METHOD)

    @property
    def handles_strays(self) -> bool:
        """Whether it wants to decide about CANCEL and ACK that belong to nothing here (§16.10)."""
        return "CANCEL" in self._handlers and "ACK" in self._handlers

    @property
    def handles_any(self) -> bool:
        """Whether there is a handler for every method."""
        return ANY_METHOD in self._handlers

    def handler_for(self, method: str) -> Handler | None:
        """The function that decides about ``method``."""
        return self._handlers.get(method) or self._handlers.get(ANY_METHOD)

    def bind(self, services: Mapping[str, object]) -> dict[str, Ready]:
        """The handlers by method, each with the services that it asked for filled in."""
        return {method: fill_in(handler, services, 1) for method, handler in self._handlers.items()}


def fill_in(handler: Handler, services: Mapping[str, object], positional: int) -> Ready:
    """Gives ``handler`` the services that it names; ``positional`` arguments come with a call."""
    wanted = services_wanted(handler, positional)
    if not wanted:
        return handler
    return partial(handler, **{name: services[name] for name in wanted})


# A policy has few handlers; the bound is for one that makes a new closure for every call.
@lru_cache(maxsize=256)
def services_wanted(handler: Handler, positional: int) -> tuple[str, ...]:
    """The services that ``handler`` asks for behind its ``positional`` first parameters.

    Raises TypeError when it has too few parameters, or one that nothing can fill.
    """
    parameters = list(inspect.signature(handler).parameters.values())
    first = parameters[:positional]
    by_position = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(first) < positional or any(each.kind not in by_position for each in first):
        given = "(request)" if positional == 1 else "(request, response)"
        raise TypeError(f"{_name(handler)} must take {given} first")
    wanted = []
    for parameter in parameters[positional:]:
        if parameter.name in SERVICES and parameter.kind is not inspect.Parameter.POSITIONAL_ONLY:
            wanted.append(parameter.name)
        elif parameter.default is inspect.Parameter.empty:
            known = ", ".join(SERVICES)
            raise TypeError(
                f"{_name(handler)} asks for {parameter.name!r}, but there is only {known}"
            )
    return tuple(wanted)


def _name(handler: Handler) -> str:
    return getattr(handler, "__qualname__", repr(handler))
