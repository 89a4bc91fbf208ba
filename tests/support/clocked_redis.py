"""Owns a Redis whose time and run a test sets: scripts read them from a key, and are otherwise as they are shipped.

A test may also alter them, to see that it finds what is wrong with them then.
"""

from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.typing import EncodableT, FieldT, ScriptTextT

from subgraph.adapters.redis.connection import connect

CLOCK = "the-clock-of-a-test"
TIME = "redis.call('TIME')"
RUN = "redis.call('INFO', 'server')"


class ClockedRedis(Redis):
    """A client whose scripts take the time, and the run of the server, from a hash of the test's own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.clock = CLOCK
        self.altered: Mapping[str, str] = {}
        self.alterations = 0

    def register_script(self, script: ScriptTextT) -> AsyncScript:  # type: ignore[override]  # as redis-py does itself
        """As the client's."""
        source = script if isinstance(script, str) else bytes(script).decode()
        for shipped, altered in self.altered.items():
            self.alterations += source.count(shipped)
            source = source.replace(shipped, altered)
        return super().register_script(
            source.replace(TIME, f"redis.call('HMGET', '{self.clock}', 'seconds', 'microseconds')").replace(
                RUN, f"redis.call('HGET', '{self.clock}', 'info')"
            )
        )

    async def set_clock(self, now_ms: int, run_id: str) -> None:
        """Set both."""
        seconds, ms = divmod(now_ms, 1_000)
        facts: dict[FieldT, EncodableT] = {"seconds": seconds, "microseconds": ms * 1_000, "info": f"run_id:{run_id}"}
        await self.hset(self.clock, mapping=facts)


def clocked(url: str, clock: str, altered: Mapping[str, str] | None = None) -> ClockedRedis:
    """A client on a URL, with a clock of that name; its scripts say something else in some places."""
    redis = ClockedRedis.from_pool(connect(url).connection_pool)
    assert isinstance(redis, ClockedRedis)
    redis.clock, redis.altered = clock, altered or {}
    return redis
