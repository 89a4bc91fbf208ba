"""Owns a live store in which something else happens first: a hook runs in the middle of a chosen call."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from subgraph.adapters.redis.live_fleet import RedisLiveFleet

Hook = Callable[[], Awaitable[object]]


class InterruptedLive:
    """Passes every call on. `before` and `after` name calls, and what happens once before or after the next of them."""

    def __init__(self, live: RedisLiveFleet) -> None:
        self._live = live
        self.before: dict[str, Hook] = {}
        self.after: dict[str, Hook] = {}
        self.seconds: dict[str, float] = {}
        """How much longer than usual calls of a name take."""
        self.calls: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._live, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            await self._run(self.before, name)
            await asyncio.sleep(self.seconds.get(name, 0.0))
            result = await method(*args, **kwargs)
            # Whoever asks for requests gets nothing most of the time: the hook waits for when it matters.
            if result != []:
                await self._run(self.after, name)
            return result

        return call

    @staticmethod
    async def _run(hooks: dict[str, Hook], name: str) -> None:
        hook = hooks.pop(name, None)
        if hook is not None:
            await hook()
