"""Owns virtual time: an event loop that jumps to whatever comes next, and processes that can be stopped in the midst.

Nothing in it waits, and nothing in it is left to chance: what is due at one time happens in the order it was asked for.
"""

import asyncio
import contextvars
import gc
import heapq
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

T = TypeVar("T")

_process: contextvars.ContextVar["Process | None"] = contextvars.ContextVar("process", default=None)


class Process:
    """What runs together and is stopped together. Whatever is begun in its `context` belongs to it."""

    def __init__(self, loop: "VirtualLoop", name: str, site: str) -> None:
        self.name = name
        self.site = site
        """The machine it runs on; another process may run there after it."""
        self.is_alive = True
        self.is_paused = False
        self._loop = loop
        self._held: list[_Handle] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self.context = contextvars.copy_context()
        self.context.run(_process.set, self)

    def run(self, work: Coroutine[Any, Any, T], name: str = "") -> "asyncio.Task[T]":
        """Have the process do something, beside all else that it does."""
        task: asyncio.Task[T] = self._loop.create_task(work, name=name or self.name, context=self.context.copy())
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def pause(self) -> None:
        """Stop as SIGSTOP would: time goes on, and nothing of this process does."""
        self.is_paused = True
        self._loop.paused[self] = None

    def resume(self) -> None:
        """Go on; what came due meanwhile comes now, in its order."""
        self.is_paused = False
        self._loop.paused.pop(self, None)
        held, self._held = self._held, []
        self._loop.put_first(held)

    def kill(self) -> None:
        """End all that runs. Whoever lets it speak to others must refuse that from now on: dead code cleans up yet."""
        self.is_alive = False
        self.resume()
        for task in list(self._tasks):
            task.cancel()

    def hold(self, handle: "_Handle") -> None:
        """Keep back what is due while the process is paused."""
        self._held.append(handle)


class VirtualLoop:
    """As much of an asyncio event loop as code that does no I/O asks for, in virtual time."""

    def __init__(self) -> None:
        self._now = 0.0
        self._number = 0
        self._ready: deque[_Handle] = deque()
        self._timers: list[tuple[float, int, _Handle]] = []
        self._closed = False
        self.paused: dict[Process, None] = {}
        self.unhandled: list[str] = []
        """Failures that nobody took notice of."""

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run until it is done.

        Raises:
            NothingHappens: it waits for something that nobody is going to do.
        """
        with self._in_charge():
            task: asyncio.Task[T] = self.create_task(main)
            while not task.done():
                self._turn()
            return task.result()

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def call_soon(self, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None) -> Any:
        """As asyncio's."""
        handle = _Handle(callback, args, context)
        self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """As asyncio's."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: contextvars.Context | None = None
    ) -> Any:
        """As asyncio's."""
        handle = _Handle(callback, args, context, when)
        self._number += 1
        heapq.heappush(self._timers, (when, self._number, handle))
        return handle

    def create_task(self, coro: Any, *, name: str | None = None, context: contextvars.Context | None = None) -> Any:
        """As asyncio's."""
        self._number += 1
        return _Task(coro, loop=self._as_asyncio, name=name, context=context, number=self._number)

    def create_future(self) -> "asyncio.Future[Any]":
        """As asyncio's."""
        return asyncio.Future(loop=self._as_asyncio)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Note what went wrong behind everybody's back."""
        self.unhandled.append(f"{context.get('message')}: {context.get('exception')!r} {context.get('task')!r}")

    def get_debug(self) -> bool:
        """As asyncio's."""
        return False

    def is_running(self) -> bool:
        """As asyncio's."""
        return not self._closed

    def is_closed(self) -> bool:
        """As asyncio's."""
        return self._closed

    def put_first(self, handles: "list[_Handle]") -> None:
        """Have these come before all that is due."""
        self._ready.extendleft(reversed(handles))

    @property
    def _as_asyncio(self) -> asyncio.AbstractEventLoop:
        return cast(asyncio.AbstractEventLoop, self)

    def _turn(self) -> None:
        if not self._ready:
            if not self._timers:
                raise NothingHappens("whoever waits would wait for ever")
            self._now = max(self._now, self._timers[0][0])
            while self._timers and self._timers[0][0] <= self._now:
                self._ready.append(heapq.heappop(self._timers)[2])
        for _ in range(len(self._ready)):
            handle = self._ready.popleft()
            if handle.is_cancelled:
                continue
            if self.paused:
                owner = handle.context.get(_process)
                if owner is not None and owner.is_paused:
                    owner.hold(handle)
                    continue
            handle.context.run(handle.callback, *handle.args)

    @contextmanager
    def _in_charge(self) -> Iterator[None]:
        # When the collector comes is not for a seed to say: what it ends (an abandoned generator) would come by chance.
        collects = gc.isenabled()
        gc.disable()
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(finalizer=self._end_generator)
        asyncio._set_running_loop(self._as_asyncio)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*hooks)
            self._closed = True
            if collects:
                gc.enable()

    def _end_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.create_task(generator.aclose())


class NothingHappens(Exception):
    """Nothing is due, and nothing will ever be."""


class _Handle:
    """A call that is due at some time. It belongs to the process in whose context it runs."""

    __slots__ = ("args", "callback", "context", "is_cancelled", "when_due")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: contextvars.Context | None,
        when: float = 0.0,
    ) -> None:
        self.callback = callback
        self.args = args
        self.context = context if context is not None else contextvars.copy_context()
        self.is_cancelled = False
        self.when_due = when

    def cancel(self) -> None:
        self.is_cancelled = True

    def cancelled(self) -> bool:
        return self.is_cancelled

    def when(self) -> float:
        return self.when_due


class _Task(asyncio.Task[T]):
    """A task with a number. asyncio keeps tasks in sets, whose order would otherwise be that of their addresses."""

    def __init__(self, coro: Any, *, number: int, **facts: Any) -> None:
        self._number = number
        super().__init__(coro, **facts)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other
