"""Runs a handler: a function at once, a coroutine at once as far as it goes without waiting.

Most handlers never wait, and a task costs more than they do. So a coroutine is stepped inline;
only one that really suspends goes on as a task of the loop.

From Python 3.12 on this is what eager tasks do. On 3.11 a coroutine that looks for its task while
it runs inline (``asyncio.timeout`` and ``asyncio.TaskGroup`` do) finds a :class:`_FutureTask`,
which stands for the task that will exist if the coroutine suspends.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable, Coroutine
from types import CoroutineType, TracebackType
from typing import Any, Final, TypeAlias, final

MAX_SUSPENDED = 10_000
"""Handlers that may wait at one time; a request beyond them is answered 503."""

Finished: TypeAlias = Callable[[int, "asyncio.Task[object]"], None]


class TooManySuspended(Exception):  # noqa: N818  it is a state of the server, not a fault
    """A handler wants to wait while :data:`MAX_SUSPENDED` others do."""


@final
class Suspended:
    """The type of :data:`SUSPENDED`."""

    def __repr__(self) -> str:
        return "SUSPENDED"


SUSPENDED: Final = Suspended()
"""What :meth:`Runner.run` returns when the result comes later."""


class Runner:
    """Runs handlers on one loop and keeps those that wait, by transaction.

    ``finished(transaction_id, task)`` is called in the loop when a handler that had suspended is
    done, unless it was cancelled by :meth:`cancel`.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        finished: Finished,
        *,
        max_suspended: int = MAX_SUSPENDED,
    ) -> None:
        self._loop = loop
        self._finished = finished
        self._max_suspended = max_suspended
        self._suspended: dict[int, asyncio.Task[object]] = {}

    @property
    def suspended(self) -> int:
        """How many handlers wait."""
        return len(self._suspended)

    def run(
        self, transaction_id: int, handler: Callable[..., object], *arguments: object
    ) -> object:
        """What the handler returned, or :data:`SUSPENDED`. Raises what the handler raised."""
        result = handler(*arguments)
        if type(result) is not CoroutineType:
            return result
        if len(self._suspended) >= self._max_suspended:
            result.close()
            raise TooManySuspended
        started = _start(self._loop, result)
        if not isinstance(started, asyncio.Task):
            return started.value
        self._suspended[transaction_id] = started
        started.add_done_callback(lambda task: self._done(transaction_id, task))
        return SUSPENDED

    def cancel(self, transaction_id: int) -> None:
        """Cancels the handler that waits for transaction ``transaction_id``, if there is one."""
        if task := self._suspended.pop(transaction_id, None):
            task.cancel()

    def close(self) -> None:
        """Cancels every handler that waits."""
        for transaction_id in list(self._suspended):
            self.cancel(transaction_id)

    def _done(self, transaction_id: int, task: asyncio.Task[object]) -> None:
        if self._suspended.get(transaction_id) is task:
            del self._suspended[transaction_id]
            self._finished(transaction_id, task)
        elif not task.cancelled():
            # It was given up and its result is of no use, but an exception that nobody
            # fetches would be logged as forgotten.
            task.exception()


class _Returned:
    """A coroutine's result, told from a task."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


if sys.version_info >= (3, 12):

    def _start(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, object]
    ) -> _Returned | asyncio.Task[object]:
        task = asyncio.Task(coroutine, loop=loop, eager_start=True)
        return _Returned(task.result()) if task.done() else task

else:

    def _start(
        loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, object]
    ) -> _Returned | asyncio.Task[object]:
        context = contextvars.copy_context()
        stand_in: Any = _FutureTask()
        asyncio.tasks._enter_task(loop, stand_in)
        try:
            awaited = context.run(coroutine.send, None)
        except StopIteration as stop:
            return _Returned(stop.value)
        finally:
            asyncio.tasks._leave_task(loop, stand_in)
        task = loop.create_task(_Resumed(coroutine, awaited), context=context)
        stand_in.become(task)
        return task


@final
class _Resumed(Coroutine[Any, Any, object]):
    """A coroutine that has run up to its first wait, for a task to go on with."""

    __slots__ = ("_awaited", "_coroutine", "_is_first_step")

    def __init__(self, coroutine: Coroutine[Any, Any, object], awaited: object) -> None:
        self._coroutine = coroutine
        self._awaited = awaited
        self._is_first_step = True

    def send(self, value: object) -> object:
        """Hands the task what is awaited already; afterwards steps the coroutine."""
        if not self._is_first_step:
            return self._coroutine.send(value)
        self._is_first_step = False
        awaited, self._awaited = self._awaited, None
        return awaited

    def throw(  # type: ignore[override]  # the deprecated three-argument form is all typeshed has
        self,
        kind: BaseException | type[BaseException],
        value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> object:
        """Raises in the coroutine, for example when the task is cancelled."""
        self._is_first_step = False
        return self._coroutine.throw(kind if isinstance(kind, BaseException) else value or kind())

    def close(self) -> None:
        """Ends the coroutine without a result."""
        self._coroutine.close()

    def __await__(self) -> Any:
        raise RuntimeError("a resumed handler belongs to its task")


@final
class _FutureTask:
    """Stands for the task of a coroutine that runs inline, and becomes it if that suspends."""

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._cancel_requests = 0

    def become(self, task: asyncio.Task[object]) -> None:
        """From now on ``task`` is meant; it is cancelled if that was asked for already."""
        self._task = task
        for _ in range(self._cancel_requests):
            task.cancel()

    def cancel(self, msg: object = None) -> bool:
        """As ``asyncio.Task.cancel``."""
        if self._task is not None:
            return self._task.cancel(msg)
        self._cancel_requests += 1
        return True

    def cancelling(self) -> int:
        """As ``asyncio.Task.cancelling``."""
        return self._cancel_requests if self._task is None else self._task.cancelling()

    def uncancel(self) -> int:
        """As ``asyncio.Task.uncancel``."""
        if self._task is not None:
            return self._task.uncancel()
        self._cancel_requests = max(0, self._cancel_requests - 1)
        return self._cancel_requests

    def done(self) -> bool:
        """As ``asyncio.Task.done``."""
        return self._task is not None and self._task.done()

    def __getattr__(self, name: str) -> object:
        if self._task is None:
            raise AttributeError(f"{name} is not there before the handler has suspended once")
        return getattr(self._task, name)
