"""Handlers run inline as far as they go without waiting, and as tasks from there."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator

import pytest

from sipshard.policy.runner import SUSPENDED, Runner, TooManySuspended

TRACE: contextvars.ContextVar[str] = contextvars.ContextVar("TRACE", default="outside")


class Fixture:
    """A runner on a loop that turns when a test says so."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.finished: list[tuple[int, asyncio.Task[object]]] = []
        self.runner = Runner(self.loop, self.note, max_suspended=3)

    def note(self, transaction_id: int, task: asyncio.Task[object]) -> None:
        self.finished.append((transaction_id, task))

    def run(self, handler: Callable[..., object], *arguments: object) -> object:
        """Calls the handler as the selector does: in the running loop, outside of any task."""
        results: list[object] = []

        def call() -> None:
            try:
                results.append(self.runner.run(1, handler, *arguments))
            except Exception as error:
                results.append(error)

        self.loop.call_soon(call)
        self.turn(1)
        return results[0]

    def turn(self, times: int = 6) -> None:
        for _ in range(times):
            self.loop.call_soon(self.loop.stop)
            self.loop.run_forever()

    def result(self) -> object:
        ((transaction_id, task),) = self.finished
        assert transaction_id == 1
        return task.result()


@pytest.fixture
def fixture() -> Iterator[Fixture]:
    fixture = Fixture()
    yield fixture
    fixture.runner.close()
    fixture.turn()
    fixture.loop.close()


def tasks(fixture: Fixture) -> int:
    return len(asyncio.all_tasks(fixture.loop))


class TestInline:
    def test_a_function(self, fixture: Fixture) -> None:
        assert fixture.run(lambda a, b: (a, b), 1, 2) == (1, 2)

    def test_a_coroutine_that_does_not_wait_needs_no_task(self, fixture: Fixture) -> None:
        seen: list[int] = []

        async def handler(value: int) -> int:
            await ready()
            seen.append(tasks(fixture))
            return value + 1

        async def ready() -> None: ...

        assert fixture.run(handler, 1) == 2
        assert seen == [0]
        assert fixture.runner.suspended == 0

    @pytest.mark.parametrize("is_async", [False, True])
    def test_what_it_raises_is_raised(self, fixture: Fixture, is_async: bool) -> None:
        def plain() -> None:
            raise LookupError("in the policy")

        async def coroutine() -> None:
            plain()

        assert isinstance(fixture.run(coroutine if is_async else plain), LookupError)

    def test_a_timeout_that_is_not_needed(self, fixture: Fixture) -> None:
        async def handler() -> str:
            async with asyncio.timeout(10):
                return "in time"

        assert fixture.run(handler) == "in time"

    def test_no_task_is_current_afterwards(self, fixture: Fixture) -> None:
        async def handler() -> bool:
            return asyncio.current_task() is not None

        assert fixture.run(handler) is True
        assert asyncio.current_task(fixture.loop) is None

    def test_context_variables_stay_inside(self, fixture: Fixture) -> None:
        async def handler() -> str:
            TRACE.set("inside")
            return TRACE.get()

        assert fixture.run(handler) == "inside"
        assert TRACE.get() == "outside"


class TestSuspended:
    def test_it_goes_on_as_a_task(self, fixture: Fixture) -> None:
        async def handler(value: int) -> tuple[int, str]:
            TRACE.set("inside")
            await asyncio.sleep(0)
            return value + 1, TRACE.get()

        assert fixture.run(handler, 1) is SUSPENDED
        assert fixture.runner.suspended == 1
        fixture.turn()
        assert fixture.result() == (2, "inside")
        assert fixture.runner.suspended == 0

    def test_it_waits_for_a_future(self, fixture: Fixture) -> None:
        future: asyncio.Future[str] = fixture.loop.create_future()

        async def handler() -> str:
            return await future

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        assert not fixture.finished
        future.set_result("answer")
        fixture.turn()
        assert fixture.result() == "answer"

    def test_what_it_raises_later_is_in_the_task(self, fixture: Fixture) -> None:
        async def handler() -> None:
            await asyncio.sleep(0)
            raise LookupError("in the policy")

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        with pytest.raises(LookupError):
            fixture.result()

    def test_a_timeout_begun_inline_ends_the_wait(self, fixture: Fixture) -> None:
        async def handler() -> str:
            try:
                async with asyncio.timeout(0):
                    await asyncio.Event().wait()
            except TimeoutError:
                return "too late"
            return "never"

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        assert fixture.result() == "too late"

    def test_a_task_group_begun_inline(self, fixture: Fixture) -> None:
        async def double(value: int) -> int:
            await asyncio.sleep(0)
            return 2 * value

        async def handler() -> int:
            async with asyncio.TaskGroup() as group:
                first, second = group.create_task(double(1)), group.create_task(double(2))
            return first.result() + second.result()

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        assert fixture.result() == 6

    def test_a_failing_child_of_a_task_group_cancels_the_wait(self, fixture: Fixture) -> None:
        async def fail() -> None:
            raise LookupError("in a child")

        async def handler() -> str:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
                    await asyncio.Event().wait()
            except ExceptionGroup as group_of_errors:
                return repr(group_of_errors.exceptions[0])
            return "never"

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        assert fixture.result() == "LookupError('in a child')"

    def test_cancelling_itself_before_the_first_wait(self, fixture: Fixture) -> None:
        async def handler() -> str:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            try:
                await asyncio.sleep(0)
            except asyncio.CancelledError:
                return "cancelled"
            return "never"

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        assert fixture.result() == "cancelled"

    def test_the_caller_hanging_up_cancels_it(self, fixture: Fixture) -> None:
        ended: list[str] = []

        async def handler() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cleaned up")

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        fixture.runner.cancel(1)
        fixture.turn()
        assert ended == ["cleaned up"]
        assert fixture.finished == []
        assert fixture.runner.suspended == 0

    def test_cancelling_before_its_first_turn_as_a_task(self, fixture: Fixture) -> None:
        ended: list[str] = []

        async def handler() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cleaned up")

        fixture.loop.call_soon(lambda: fixture.runner.run(1, handler))
        fixture.loop.call_soon(lambda: fixture.runner.cancel(1))
        fixture.turn()
        assert ended == ["cleaned up"]

    def test_an_error_after_it_was_given_up_is_nobody_s(self, fixture: Fixture) -> None:
        async def handler() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise LookupError("while cleaning up") from None

        assert fixture.run(handler) is SUSPENDED
        fixture.turn()
        fixture.runner.cancel(1)
        fixture.turn()
        assert fixture.finished == []

    def test_beyond_the_bound_it_is_refused(self, fixture: Fixture) -> None:
        async def handler() -> None:
            await asyncio.Event().wait()

        async def quick() -> str:
            return "quick"

        def fill() -> None:
            for number in range(10, 13):
                assert fixture.runner.run(number, handler) is SUSPENDED

        fixture.loop.call_soon(fill)
        fixture.turn()
        assert isinstance(fixture.run(quick), TooManySuspended)
        assert fixture.run(lambda: "plain") == "plain"
        fixture.runner.cancel(10)
        assert fixture.run(quick) == "quick"

    def test_closing_cancels_all(self, fixture: Fixture) -> None:
        async def handler() -> None:
            await asyncio.Event().wait()

        assert fixture.run(handler) is SUSPENDED
        fixture.runner.close()
        fixture.turn()
        assert tasks(fixture) == 0
