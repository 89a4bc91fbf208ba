"""Owns single flight: one piece of long work at a time in a process, shared by all callers that ask for the same."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from subgraph.domain.errors import Unavailable
from subgraph.operations.ports import MonotonicClock

R = TypeVar("R")

RETRY_SECONDS = 10.0


@dataclass(slots=True)
class SingleFlight(Generic[R]):
    """Work of one kind. It continues when its caller is gone, as a gateway may time out earlier, and a retry joins it.

    `what` names the work in the error for callers who ask for other work meanwhile.
    """

    what: str
    monotonic: MonotonicClock
    _asked: Hashable = None
    _since: float = 0.0
    _task: asyncio.Task[R] | None = field(default=None)

    async def do(self, asked: Hashable, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Carry out work, or join the same work under way.

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
                f"{self.what} has been under way here for {seconds:.0f} s; only one runs at a time",
                retry_after_seconds=RETRY_SECONDS,
            )
        return await asyncio.shield(self._task)
