"""Owns dropping all cached sessions, in Redis and in every process, when SQL was restored to an earlier state."""

from secrets import token_urlsafe

from redis.asyncio import Redis

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.keys import session_keys_pattern, sessions_standing_key

KEYS_PER_SCAN = 1_000


async def forget_all_copies(redis: Redis, fleet_id: str) -> None:
    """Drop the copies of all sessions, and have every process forget its own. What is being changed stays fenced.

    Raises:
        Unavailable: Redis did not answer to the end; then some copies may be left.
    """
    with told_as_unavailable():
        # One by one, because a cluster has them in many slots. Copies and claims are strings; fences are not.
        async with redis.pipeline(transaction=False) as pipeline:
            async for key in redis.scan_iter(session_keys_pattern(fleet_id), KEYS_PER_SCAN, "string"):
                pipeline.unlink(key)
                if len(pipeline) >= KEYS_PER_SCAN:
                    await pipeline.execute()
            await pipeline.execute()
        # In another line nobody has heard anything yet. Not before: who has just forgotten would take what is left.
        await redis.hset(sessions_standing_key(fleet_id), "line", token_urlsafe(12))
