"""The event loop of a signalling worker: an asyncio loop whose selector is the engine.

asyncio asks its selector to wait for descriptors. Ours lets the engine serve its sockets while it
waits, and comes back to Python only when something is due there: a timer or a callback of asyncio,
a descriptor that asyncio watches, or a request that needs a decision. So a datagram that needs no
decision costs no Python at all, and one that does costs no asyncio callback.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
import os
import selectors
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING, Any, Protocol, TypeVarTuple, Unpack, final

from sipshard.log import logger
from sipshard.proxy.execution import Event

if TYPE_CHECKING:
    from _typeshed import FileDescriptorLike


Arguments = TypeVarTuple("Arguments")


class ServingEngine(Protocol):
    """The part of the engine that the loop drives."""

    def run(self, timeout_s: float | None) -> list[tuple[int, int]]:
        """Serves until Python is needed; returns the ready descriptors of :meth:`register`."""

    def events(self) -> Sequence[Event]:
        """Takes what waits for a decision."""

    def lookups(self) -> list[tuple[str, int, str, bool]]:
        """Takes the next hops to locate: host, port, transport, whether it must be secure."""

    def register(self, fd: int, mask: int) -> None:
        """Watches a descriptor of asyncio."""

    def modify(self, fd: int, mask: int) -> None:
        """Watches it for something else."""

    def unregister(self, fd: int) -> None:
        """Watches it no longer."""


@final
class EngineSelector(selectors.BaseSelector):
    """A selector that serves SIP while it waits.

    ``decide`` gets the engine's events and ``locate`` the next hops that it asks for, both in
    the loop's thread, inside :meth:`select`. Neither may raise or block; they may schedule
    callbacks and tasks of the loop, which run as soon as ``select`` has returned.

    It has two shortcuts of its own past asyncio, :meth:`call_later` and
    :meth:`call_soon_threadsafe`, for what happens once per group of registrations: a timer and a
    thread's way back cost several times as much through handles, heap and self-pipe.
    """

    def __init__(self, engine: ServingEngine) -> None:
        self._engine = engine
        self._keys: dict[int, selectors.SelectorKey] = {}
        self._decide: Callable[[Sequence[Event]], None] = _discard
        self._locate: Callable[[Sequence[tuple[str, int, str, bool]]], None] = _discard
        self._is_loop_due = False
        # (when, callback) by the clock of time.monotonic, a heap; a counter keeps equal ones apart.
        self._timers: list[tuple[float, int, Callable[[], object]]] = []
        self._timer_count = itertools.count()
        # Any thread appends, the loop's thread pops; the eventfd is written after the append.
        self._posted: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self._wake_up = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        engine.register(self._wake_up, selectors.EVENT_READ)

    def attach(
        self,
        decide: Callable[[Sequence[Event]], None],
        locate: Callable[[Sequence[tuple[str, int, str, bool]]], None],
    ) -> None:
        """Sets who decides and who locates; both need the loop, and the loop needs a selector."""
        self._decide = decide
        self._locate = locate

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serves for up to ``timeout`` seconds (for ever if None) and returns what is ready.

        Goes on serving after a decision that left nothing for asyncio to do.
        """
        engine = self._engine
        self._is_loop_due = False
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        while True:
            ready = engine.run(self._wait_s(deadline))
            if events := engine.events():
                self._decide(events)
            if questions := engine.lookups():
                self._locate(questions)
            if self._timers:
                self._run_timers()
            keys = self._ready_keys(ready) if ready else []
            if keys or self._is_loop_due or time.monotonic() >= deadline:
                return keys

    def return_soon(self) -> None:
        """Something was scheduled on the loop: :meth:`select` returns after this turn."""
        self._is_loop_due = True

    def call_later(self, delay: float, callback: Callable[[], object], /) -> None:
        """Calls ``callback`` in the loop's thread after ``delay`` seconds. It must not block."""
        when = time.monotonic() + delay
        heapq.heappush(self._timers, (when, next(self._timer_count), callback))

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *arguments: Any) -> None:
        """Calls ``callback`` in the loop's thread; may be called from any thread.

        Raises RuntimeError when the selector is closed.
        """
        self._posted.append((callback, arguments))
        if self._wake_up < 0:
            raise RuntimeError("the selector is closed")
        os.eventfd_write(self._wake_up, 1)

    def run_posted(self) -> None:
        """Runs what other threads have posted."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._wake_up)
        for _ in range(len(self._posted)):
            callback, arguments = self._posted.popleft()
            _run(callback, *arguments)

    def _wait_s(self, deadline: float) -> float | None:
        if self._timers and self._timers[0][0] < deadline:
            deadline = self._timers[0][0]
        return None if deadline == math.inf else max(0.0, deadline - time.monotonic())

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0][0] <= now:
            _run(heapq.heappop(self._timers)[2])

    def _ready_keys(
        self, ready: Sequence[tuple[int, int]]
    ) -> list[tuple[selectors.SelectorKey, int]]:
        keys = self._keys
        found = []
        for fd, mask in ready:
            if fd == self._wake_up:
                self.run_posted()
            # A decision may have closed a descriptor that became ready in the same turn.
            elif key := keys.get(fd):
                found.append((key, mask & key.events))
        return found

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
        if self._wake_up >= 0:
            self._engine.unregister(self._wake_up)
            os.close(self._wake_up)
            self._wake_up = -1


@final
class EngineLoop(asyncio.SelectorEventLoop):
    """An asyncio loop that tells its selector when there is something to come back for."""

    def __init__(self, selector: EngineSelector) -> None:
        self._return_soon = selector.return_soon
        super().__init__(selector)

    def call_soon(
        self,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.Handle:
        """As ``asyncio.AbstractEventLoop.call_soon``."""
        self._return_soon()
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Arguments]], object],
        *args: *Arguments,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As ``asyncio.AbstractEventLoop.call_at``."""
        self._return_soon()
        return super().call_at(when, callback, *args, context=context)


def _run(callback: Callable[..., object], *arguments: Any) -> None:
    """A mistake in a callback must not end the loop, as it would not in asyncio."""
    try:
        callback(*arguments)
    except Exception:
        logger.exception("a callback of the worker's loop failed")


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
