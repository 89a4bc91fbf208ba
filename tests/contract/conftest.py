"""What the contract tests of the Redis adapters share: clients on the worker's Valkey, a fleet of each test's own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from subgraph.adapters.embedded_valkey import EmbeddedValkey
from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from tests.support.own_valkey import own_valkey


@contextlib.asynccontextmanager
async def listening(redis: Redis) -> AsyncIterator[RedisEventBus]:
    """A bus whose listener runs."""
    bus = RedisEventBus(redis)
    running = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        running.cancel()
        await asyncio.wait([running])
        await bus.aclose()


@pytest.fixture
async def redis(valkey_url: str) -> AsyncIterator[Redis]:
    client = connect(valkey_url)
    yield client
    await client.aclose()


@pytest.fixture
async def bus(redis: Redis) -> AsyncIterator[RedisEventBus]:
    async with listening(redis) as running:
        yield running


@pytest.fixture
def fleet_id() -> str:
    return f"fleet-{uuid4().hex}"


@pytest.fixture
def live(redis: Redis, bus: RedisEventBus, fleet_id: str) -> RedisLiveFleet:
    return RedisLiveFleet(redis, bus, fleet_id)


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    """A Valkey that a test may empty, kill and start again."""
    async with own_valkey(tmp_path) as server:
        yield server


@pytest.fixture
async def own_live(valkey: EmbeddedValkey, fleet_id: str) -> AsyncIterator[RedisLiveFleet]:
    """The live fleet on that Valkey."""
    client = connect(valkey.url)
    async with listening(client) as bus:
        yield RedisLiveFleet(client, bus, fleet_id)
    await client.aclose()
