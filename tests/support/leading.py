"""Owns leading a fleet in a test without a control loop."""

from secrets import token_urlsafe

from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.operations.fleet.fleet_writes import Leadership

LONG_MS = 60_000


async def lead(
    live: RedisLiveFleet, incarnation: int = 1, *, name: str = "leader", lease_ms: int = LONG_MS
) -> Leadership:
    """Take the lease, which must be free, and begin a term."""
    leadership = Leadership(incarnation, token_urlsafe(16))
    assert await live.try_lead(name, leadership.token, lease_ms)
    await live.begin_term(leadership)
    return leadership
