"""What contract tests share: each kind of database, clients on the worker's Valkey, a fleet of each test's own."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from tests.support.databases import DATABASES, MakeDatabase
from tests.support.journal_in_memory import JournalInMemory
from tests.support.journal_world import JournalWorld
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


@pytest.fixture(params=DATABASES, ids=lambda make: make.__name__)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of the test's own, of each kind in turn."""
    database: MakeDatabase = request.param
    with database(tmp_path) as url:
        yield url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = await open_database(database_url)
    yield opened
    await opened.close()


@pytest.fixture(params=[None, *DATABASES], ids=lambda make: make.__name__ if make else "memory")
def journal_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str | None]:
    """Where a journal of the test's own is kept: in a database of each kind in turn, or None: in its twin in memory."""
    database: MakeDatabase | None = request.param
    with contextlib.nullcontext() if database is None else database(tmp_path) as url:
        yield url


@pytest.fixture
async def world(journal_url: str | None) -> AsyncIterator[JournalWorld]:
    """Processes that follow that journal."""
    kept = JournalInMemory() if journal_url is None else await open_database(journal_url)
    world = JournalWorld(kept, "tenant", random.Random(0))
    yield world
    await world.process.kill()
    if isinstance(kept, Database):
        await kept.close()


@pytest.fixture
async def other_database(database: Database, database_url: str) -> AsyncIterator[Database]:
    """A second process's way to the same database."""
    opened = await open_database(database_url)
    yield opened
    await opened.close()
