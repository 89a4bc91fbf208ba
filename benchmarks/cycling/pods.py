"""Owns the pods of the benchmark: they hold their leases, report new loads of all tiles, and answer every handoff.

Run as a process: `python -m cycling.pods <Redis URL> <fleet> <tiles> <pods> <report seconds>`; it runs until ended.
"""

import asyncio
import itertools
import sys
import time
from collections.abc import Iterator
from functools import partial
from secrets import token_urlsafe

import h3.api.basic_int as h3
import numpy as np
import numpy.typing as npt

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.domain.errors import LeaseLost, NotFound, Unavailable
from subgraph.domain.fleet.picture import Effects
from subgraph.domain.ids import PodId, SessionId, TenantId, TileId, tile_id
from subgraph.domain.load_report import FLOAT, INTEGER, LoadReport
from subgraph.domain.loads import LoadMetric
from subgraph.domain.ownership import AcknowledgedPhase, AssignmentReason, AssignmentState, Term, TileRecord
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, PodLease, TileWrite
from subgraph.operations.fleet.pod_registering import NewPod, PodRegistering
from subgraph.operations.fleet.pods import Acknowledgement, Pods
from subgraph.operations.ports import SlowConsumer

LEASE_MS = 900_000
"""A million tiles take minutes to write, and meanwhile nobody renews."""
SESSION, TENANT = SessionId("benchmark"), TenantId("default")
CENTRE = (39.8, -98.6)
SIGMA, DRIFT = 1.2, 0.12
CAPACITY = 1e6
SEED = 7
CALLS_AT_ONCE = 32
# Each report a few pods become hotter than before: enough for about one tile in a hundred to move.
SURGING_PODS_SHARE, SURGE = 0.06, 1.25

Numbers = npt.NDArray[np.int64]

PHASE_AFTER = {
    AssignmentState.PREPARING: AcknowledgedPhase.READY,
    AssignmentState.ACTIVE: AcknowledgedPhase.ACTIVE,
    AssignmentState.DRAINING: AcknowledgedPhase.RELEASED,
}


def cells_around(count: int) -> list[int]:
    """That many cells in a disk, of the resolution at which it is some hundred kilometres wide."""
    rings = 0
    while 3 * rings * (rings + 1) + 1 < count:
        rings += 1
    disk: list[int] = h3.grid_disk(h3.latlng_to_cell(*CENTRE, 7), rings)
    return disk[:count]


class BenchmarkPods:
    """All pods of the fleet."""

    def __init__(self, url: str, fleet_id: str, tiles: int, pods: int, report_seconds: float) -> None:
        self._bus = RedisEventBus(connect(url))
        self._live = RedisLiveFleet(connect(url), self._bus, fleet_id)
        self._view = FleetView(self._live, LEASE_MS, LoadMetric.RECORDS, time.monotonic)
        self._pods = Pods(self._live, self._view)
        self._registering = PodRegistering(self._live, self._view, LEASE_MS, LEASE_MS, partial(token_urlsafe, 16))
        self._ids = [PodId(f"pod-{number}") for number in range(pods)]
        self._leases: dict[PodId, PodLease] = {}
        self._cells = np.array(cells_around(tiles), np.int64)
        self._tile_ids: list[TileId] = [tile_id(SESSION, cell) for cell in self._cells.tolist()]
        self._random = np.random.default_rng(SEED)
        self._loads = np.exp(self._random.normal(0.0, SIGMA, tiles))
        self._report_seconds = report_seconds
        self._turns = asyncio.Semaphore(CALLS_AT_ONCE)

    async def run(self) -> None:
        """Register the pods, give them their tiles, and live."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._bus.run())
            tasks.create_task(self._view.run())
            while not (self._view.is_current and self._view.has_begun):
                await asyncio.sleep(0.05)
            for pod_id in self._ids:
                registered = await self._registering.register(NewPod(pod_id, "benchmark", CAPACITY))
                self._leases[pod_id] = PodLease(pod_id, registered.lease_token)
            await self._settle()
            tasks.create_task(self._answer())
            tasks.create_task(self._report())
            print("ready", flush=True)

    async def _settle(self) -> None:
        """Write the tiles as a fleet has them that has run for long: owned, acknowledged, evenly spread."""
        order = np.argsort(-self._loads)
        owner = np.empty(order.size, np.int64)
        owner[order] = np.arange(order.size) % len(self._ids)
        fleet = await self._view.caught_up(0, 60)
        for start in range(0, owner.size, TILES_PER_COMMIT_MAX):
            epoch = fleet.version
            writes = []
            for row in range(start, min(start + TILES_PER_COMMIT_MAX, owner.size)):
                term = Term(self._ids[owner[row]], epoch, AssignmentReason.INITIAL, 1, ready=True, acknowledged_at_ms=1)
                writes.append(TileWrite(self._tile_ids[row], 0, TileRecord(TENANT, owner=term, last_epoch=epoch)))
            await self._live.commit(None, writes)

    async def _answer(self) -> None:
        while True:
            try:
                with self._view.effects.reader() as effects:
                    async for effect in effects:
                        await self._acknowledge(effect)
            except SlowConsumer:
                continue

    async def _acknowledge(self, effect: Effects) -> None:
        async def one(pod_id: PodId, acknowledgements: list[Acknowledgement]) -> None:
            async with self._turns:
                try:
                    await self._pods.acknowledge(self._leases[pod_id], acknowledgements)
                except (LeaseLost, NotFound, Unavailable) as error:
                    print(f"{pod_id}: {error}", file=sys.stderr, flush=True)

        due = {
            pod_id: [
                Acknowledgement(change.tile_id, change.term.epoch, PHASE_AFTER[change.state])
                for change in changes
                if change.state in PHASE_AFTER and (change.term.acknowledged_at_ms is None or change.state != "ACTIVE")
            ]
            for pod_id, changes in effect.terms_of_pod.items()
        }
        await asyncio.gather(*(one(pod_id, wanted) for pod_id, wanted in due.items() if wanted))

    async def _report(self) -> None:
        next_at = time.monotonic()
        for _ in itertools.count():
            self._drift()
            await asyncio.gather(*(self._renew(report) for report in self._reports()))
            next_at += self._report_seconds
            await asyncio.sleep(max(0.0, next_at - time.monotonic()))

    def _drift(self) -> None:
        kept = np.sqrt(1 - (DRIFT / SIGMA) ** 2)
        self._loads = np.power(self._loads, kept) * np.exp(self._random.normal(0.0, DRIFT, self._loads.size))
        surging = self._random.random(len(self._ids)) < SURGING_PODS_SHARE
        owner, _ = self._terms()
        self._loads = np.where(surging[owner], self._loads * SURGE, self._loads)

    def _terms(self) -> tuple[Numbers, Numbers]:
        """For each tile the number of its pod, and its epoch; one without an owner counts as the first pod's."""
        fleet = self._view.current()
        number_of_row = np.zeros(len(fleet.pods.rows) + 1, np.int64)
        for number, pod_id in enumerate(self._ids):
            number_of_row[fleet.pods.row_or_new(pod_id)] = number
        rows = fleet.tiles.rows_at(SESSION, self._cells)
        return number_of_row[fleet.tiles.owner[rows]], fleet.tiles.owner_epoch[rows]

    def _reports(self) -> Iterator[LoadReport]:
        owner, epoch = self._terms()
        order = np.argsort(owner, kind="stable")
        starts = np.searchsorted(owner[order], np.arange(len(self._ids) + 1))
        for number, pod_id in enumerate(self._ids):
            mine = order[starts[number] : starts[number + 1]]
            yield LoadReport(
                pod_id,
                ((SESSION, mine.size),) if mine.size else (),
                self._cells[mine].astype(INTEGER).tobytes(),
                epoch[mine].astype(INTEGER).tobytes(),
                self._loads[mine].astype(FLOAT).tobytes(),
            )

    async def _renew(self, report: LoadReport) -> None:
        async with self._turns:
            await self._live.renew_lease(self._leases[report.pod_id], None, report)


if __name__ == "__main__":
    url, fleet_id, tile_count, pod_count, seconds = sys.argv[1:]
    asyncio.run(BenchmarkPods(url, fleet_id, int(tile_count), int(pod_count), float(seconds)).run())
