"""Owns long work, one at a time in a process: it goes on when who asked for it has gone, and answers who asks again."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from subgraph.domain.errors import Unavailable
from subgraph.operations.ports import MonotonicClock

R = TypeVar("R")

RETRY_SECONDS = 10.0


@dataclass(slots=True)
class OneAtATime(Generic[R]):
    """Work of one kind. A gateway may wait for less long than it takes: nobody is to begin at the beginning for that.

    `what` names the work in what is told to those who want other work meanwhile.
    """

    what: str
    monotonic: MonotonicClock
    _asked: Hashable = None
    _since: float = 0.0
    _task: asyncio.Task[R] | None = field(default=None)

    async def do(self, asked: Hashable, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Carry out work, or wait for the same that is under way.

        Raises:
            Unavailable: other work is under way.
            Whatever `work` raises.
        """
        if self._task is None or self._task.done():
            self._asked, self._since = asked, self.monotonic()
            self._task = asyncio.create_task(work())
        elif self._asked != asked:
            seconds = self.monotonic() - self._since
            raise Unavailable(
                f"{self.what} is under way here for {seconds:.0f} s, and there is one at a time",
                retry_after_seconds=RETRY_SECONDS,
            )
        return await asyncio.shield(self._task)
