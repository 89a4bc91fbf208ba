"""What the tests of the fleet's operations share: a process that leads a fleet of the test's own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.operations.live_fleet import TileWrite
from tests.support.fleet_process import FleetProcess, Register
from tests.support.fleets import TENANT, tile_ids
from tests.support.ownership_history import OwnershipHistory
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
    await process.view.caught_up(committed.version, timeout_seconds=5)
    return ids


@pytest.fixture
async def history(start: Starts) -> AsyncIterator[OwnershipHistory]:
    """All that becomes of the tiles, held against what must hold for any history."""
    process = await start(leads=False, name="historian")
    history = await OwnershipHistory(process.live).begin()
    yield history
    await history.end()
    history.check()
