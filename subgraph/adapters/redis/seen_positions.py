"""Owns the highest journal position that any process has seen, in Redis."""

from redis.asyncio import Redis

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.keys import fleet_key


class RedisSeenPositions:
    """The SeenPositions port on Redis."""

    def __init__(self, redis: Redis, fleet_id: str) -> None:
        self._redis = redis
        self._key = fleet_key(fleet_id, "journal-seen")

    async def seen(self) -> int:
        """The position that was noted last; 0 if none was, or it was forgotten."""
        with told_as_unavailable():
            return int(await self._redis.get(self._key) or 0)

    async def note(self, position: int) -> None:
        """Remember that there was an entry at a position."""
        with told_as_unavailable():
            await self._redis.set(self._key, position)
