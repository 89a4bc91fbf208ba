"""What the tests of the fleet's operations share: a process that leads a fleet of the test's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import sink_key
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.operations.fleet.fleet_writes import TileWrite
from tests.support.fleet_process import FleetProcess, Register
from tests.support.fleets import TENANT, A, B, C, tile_ids
from tests.support.lossy_world import LEASE_SECONDS, PACE, TILES, World
from tests.support.ownership_history import OwnershipHistory
from tests.support.real_pods import RealPod
from tests.support.simulated_pod import SimulatedPod

Starts = Callable[..., Awaitable[FleetProcess]]
MakesPod = Callable[..., Awaitable[SimulatedPod]]


@pytest.fixture
def fleet_id() -> str:
    return f"fleet-{uuid4().hex}"


@pytest.fixture
def register() -> Register:
    return Register()


@pytest.fixture
async def start(valkey_url: str, fleet_id: str, register: Register) -> AsyncIterator[Starts]:
    """Starts processes on the test's fleet; ends those that are left."""
    async with AsyncExitStack() as ends:

        async def start(url: str = valkey_url, *, leads: bool = True, **given: Any) -> FleetProcess:
            process = FleetProcess(url, fleet_id, register, **given)
            ends.push_async_callback(process.stop)
            return await process.start(leads=leads)

        yield start


@pytest.fixture
async def make_pod() -> AsyncIterator[MakesPod]:
    """Makes pods; silences those that are left."""
    async with AsyncExitStack() as ends:

        async def make(process: FleetProcess, pod_id: PodId, *, lives: bool = True, **given: Any) -> SimulatedPod:
            pod = SimulatedPod(process, pod_id, **given)
            ends.push_async_callback(pod.die)
            return await pod.live() if lives else pod

        yield make


async def add_tiles(process: FleetProcess, count: int) -> list[TileId]:
    """Register the first tiles of a session."""
    ids = tile_ids(count)
    process.register.coverage.note(ids)
    committed = await process.live.commit(None, [TileWrite(one, 0, TileRecord(TENANT)) for one in ids])
    await process.view.caught_up(committed.version, timeout_seconds=30)
    return ids


@pytest.fixture
async def history(start: Starts) -> AsyncIterator[OwnershipHistory]:
    """All that becomes of the tiles, held against what must hold for any history."""
    process = await start(leads=False, name="historian")
    history = await OwnershipHistory(process.live).begin()
    yield history
    await history.end()
    history.check()


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[EmbeddedValkey]:
    server = EmbeddedValkey(tmp_path / "fleet")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def sink(valkey_url: str, fleet_id: str) -> AsyncIterator[Redis]:
    # A plain client may swallow the cancellation of a pod that dies in the middle of a write.
    redis = connect(valkey_url)
    await redis.delete(*(sink_key("test", part) for part in ("positions", "payloads", "totals", "accepted")))
    yield redis
    await redis.aclose()


@pytest.fixture
async def world(valkey: EmbeddedValkey, sink: Redis, start: Starts, register: Register) -> AsyncIterator[World]:
    process = await start(valkey.url, pace=PACE)
    async with AsyncExitStack() as ends:
        world = World(valkey, sink, register, process)
        for pod_id in (A, B, C):
            pod = RealPod(lambda: world.process, sink, pod_id, LEASE_SECONDS)
            ends.push_async_callback(pod.die)
            world.pods.append(await pod.live())
        await process.until(lambda fleet: len(fleet.ready_pods()) == 3, "all pods are there")
        await add_tiles(process, TILES)
        yield world
