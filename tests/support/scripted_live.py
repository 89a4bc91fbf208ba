"""Owns a live store that says what a test tells it to: snapshots, changes and pulses, each when the test wants."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import cast

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot
from subgraph.domain.loads import LoadMetric
from subgraph.operations.fleet.fleet_pulse import Beat, LoadReading
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.live_fleet import LiveFleet
from tests.support.fleets import snapshot
from tests.support.polling import eventually


class ScriptedLive:
    """What a process can follow of the live store. `told` is put into the stream of whoever follows now."""

    def __init__(self, first: FleetSnapshot | None = None) -> None:
        self.first = first or snapshot()
        self.snapshot_waits = asyncio.Event()
        self.snapshot_waits.set()
        self.snapshot_seconds = 0.0
        self.beat_waits = asyncio.Event()
        self.beat_waits.set()
        self.published_version = self.first.version
        self.era = 0
        self.is_adopted = True
        self.is_down = False
        self.snapshots_given = 0
        self.beats_given = 0
        self.now_ms = 5_000
        self.last_cycle: CycleReport | None = None
        self.loads: asyncio.Queue[LoadReading | Exception] = asyncio.Queue()
        self._told: asyncio.Queue[FleetChange | CycleReport | Exception] = asyncio.Queue()

    def as_port(self) -> LiveFleet:
        """Itself, to those who only follow."""
        return cast(LiveFleet, self)

    def tell(self, told: FleetChange | CycleReport | Exception) -> None:
        """Publish it, and have it arrive."""
        if isinstance(told, FleetChange):
            self.published_version = told.version
        self._told.put_nowait(told)

    def arrive(self, told: FleetChange) -> None:
        """Have something arrive that was published before."""
        self._told.put_nowait(told)

    async def follow(self) -> AsyncIterator[FleetSnapshot | FleetChange | CycleReport]:
        self._told = asyncio.Queue()
        await self.snapshot_waits.wait()
        await asyncio.sleep(self.snapshot_seconds)
        self.snapshots_given += 1
        yield self.first
        while True:
            told = await self._told.get()
            if isinstance(told, Exception):
                raise told
            yield told

    async def follow_loads(self) -> AsyncIterator[LoadReading]:
        while True:
            told = await self.loads.get()
            if isinstance(told, Exception):
                raise told
            yield told

    async def beat(self) -> Beat:
        await asyncio.sleep(0)
        await self.beat_waits.wait()
        if self.is_down:
            raise Unavailable("the store is down")
        self.beats_given += 1
        return Beat(
            self.now_ms,
            1,
            self.published_version,
            "leader",
            last_cycle=self.last_cycle,
            era=self.era,
            is_adopted=self.is_adopted,
        )


@contextlib.asynccontextmanager
async def following(live: ScriptedLive, lease_ms_max: int = 1_000) -> AsyncIterator[FleetView]:
    """A view that follows the store for as long as the block lasts."""
    view = FleetView(live.as_port(), lease_ms_max, LoadMetric.RECORDS, time.monotonic)
    running = asyncio.create_task(view.run())
    try:
        yield view
    finally:
        running.cancel()
        await asyncio.wait([running])


@contextlib.asynccontextmanager
async def current_view(live: ScriptedLive, lease_ms_max: int = 1_000) -> AsyncIterator[FleetView]:
    """The same, once it is current."""
    async with following(live, lease_ms_max) as view:
        await eventually(lambda: view.is_current, "the view is current")
        yield view
