"""The event loop of a signalling worker: an asyncio loop whose selector is the engine.

asyncio asks its selector to wait for descriptors. Ours lets the engine serve its sockets while it
waits, and comes back to Python only when something is due there: a timer or a callback of asyncio,
a descriptor that asyncio watches, or a request that needs a decision. So a datagram that needs no
decision costs no Python at all, and one that does costs no asyncio callback.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, final

from sipshard.proxy.execution import Event

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


class ServingEngine(Protocol):
    """The part of the engine that the loop drives."""

    def run(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Serves until Python is needed; returns the ready descriptors of :meth:`register`."""

    def events(self) -> Sequence[Event]:
        """Takes what waits for a decision."""

    def lookups(self) -> list[str]:
        """Takes the host names to resolve."""

    def register(self, fd: int, mask: int) -> None:
        """Watches a descriptor of asyncio."""

    def modify(self, fd: int, mask: int) -> None:
        """Watches it for something else."""

    def unregister(self, fd: int) -> None:
        """Watches it no longer."""


@final
class EngineSelector(selectors.BaseSelector):
    """A selector that serves SIP while it waits.

    ``decide`` gets the engine's events and ``resolve`` the host names that it asks for, both in
    the loop's thread, inside :meth:`select`. Neither may raise or block; they may schedule
    callbacks and tasks of the loop, which run as soon as ``select`` has returned.
    """

    def __init__(self, engine: ServingEngine) -> None:
        self._engine = engine
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._decide: Callable[[Sequence[Event]], None] = _discard
        self._resolve: Callable[[Sequence[str]], None] = _discard

    def attach(
        self,
        decide: Callable[[Sequence[Event]], None],
        resolve: Callable[[Sequence[str]], None],
    ) -> None:
        """Sets who decides and who resolves; both need the loop, and the loop needs a selector."""
        self._decide = decide
        self._resolve = resolve

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serves for up to ``timeout`` seconds (for ever if None) and returns what is ready."""
        engine = self._engine
        ready = engine.run(timeout)
        if events := engine.events():
            self._decide(events)
        if hosts := engine.lookups():
            self._resolve(hosts)
        if not ready:
            return []
        # A decision may have closed a descriptor that became ready in the same turn.
        keys = self._keys
        return [(keys[fd], mask & keys[fd].events) for fd, mask in ready if fd in keys]

    def register(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """As ``BaseSelector.register``."""
        _check_events(events)
        fd = _descriptor(fileobj)
        if fd in self._keys:
            raise KeyError(f"{fileobj!r} (descriptor {fd}) is registered already")
        key = selectors.SelectorKey(fileobj, fd, events, data)
        self._engine.register(fd, events)
        self._keys[fd] = key
        return key

    def unregister(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As ``BaseSelector.unregister``."""
        key = self.get_key(fileobj)
        del self._keys[key.fd]
        self._engine.unregister(key.fd)
        return key

    def modify(
        self, fileobj: FileDescriptorLike, events: int, data: Any = None
    ) -> selectors.SelectorKey:
        """As ``BaseSelector.modify``."""
        _check_events(events)
        key = self.get_key(fileobj)
        if events != key.events:
            self._engine.modify(key.fd, events)
        key = key._replace(events=events, data=data)
        self._keys[key.fd] = key
        return key

    def get_key(self, fileobj: FileDescriptorLike) -> selectors.SelectorKey:
        """As ``BaseSelector.get_key``; a closed socket is found by identity."""
        try:
            return self._keys[_descriptor(fileobj)]
        except ValueError:
            for key in self._keys.values():
                if key.fileobj is fileobj:
                    return key
            raise KeyError(f"{fileobj!r} is not registered") from None

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        """The registered keys by descriptor."""
        return self._keys

    def close(self) -> None:
        """Forgets every descriptor. The engine itself belongs to the worker."""
        self._keys.clear()


def new_loop(selector: EngineSelector) -> asyncio.SelectorEventLoop:
    """An asyncio loop on ``selector``, not yet running."""
    return asyncio.SelectorEventLoop(selector)


def _discard(_: Sequence[object]) -> None:
    """Until the worker is complete there is nobody to ask."""


def _check_events(events: int) -> None:
    if not events or events & ~(selectors.EVENT_READ | selectors.EVENT_WRITE):
        raise ValueError(f"invalid events: {events!r}")


def _descriptor(fileobj: FileDescriptorLike) -> int:
    fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
    if fd < 0:
        raise ValueError(f"invalid file descriptor: {fd}")
    return fd
