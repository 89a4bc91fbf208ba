"""How many loads of tiles a process takes over in a second, from the stream in Redis to the tiles' columns.

    python benchmarks/load_reports.py [--runs 7]

Pods hand in a report of all their tiles through the script that they would call (`renew_lease.lua`), into a Valkey of
its own; then a process reads and takes over all of them as the server does.
"""

import argparse
import asyncio
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import h3.api.basic_int as h3
import numpy as np

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.fleet.changes import FleetSnapshot, Versioned
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import PodId, SessionId, TenantId, TileId, tile_id
from subgraph.domain.load_report import LoadReport, pack_report
from subgraph.domain.ownership import AssignmentReason, Term, TileRecord
from subgraph.domain.pods import PodRecord
from subgraph.operations.fleet.fleet_writes import Leadership, PodLease

SESSIONS = 10
HANDED_IN_AT_ONCE = 50
CASES = ((1_000, 100), (1_000, 10), (100, 1_000))
"""Pods, and tiles of each."""


@dataclass(frozen=True, slots=True)
class Run:
    """One pass over all reports."""

    entries: int
    seconds: float
    cpu_seconds: float
    longest_turn_seconds: float


async def main(runs: int) -> None:
    """Measure, and print the table."""
    *others, core = sorted(os.sched_getaffinity(0))
    print(f"{platform.platform()}, on core {core}, Python {platform.python_version()}, numpy {np.__version__}\n")
    print("| pods | tiles a report | loads/s of processor time | lowest – highest | by the clock | longest turn, ms |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: |")
    with tempfile.TemporaryDirectory(prefix="sm-bench-") as directory:
        valkey = EmbeddedValkey(Path(directory))
        os.sched_setaffinity(0, others or {core})
        await valkey.start()
        os.sched_setaffinity(0, {core})
        try:
            for pods, tiles_of_pod in CASES:
                await _case(valkey.url, pods, tiles_of_pod, runs)
        finally:
            await valkey.stop()


async def _case(url: str, pods: int, tiles_of_pod: int, runs: int) -> None:
    redis = connect(url)
    bus = RedisEventBus(redis)
    fleet_id = f"fleet-{pods}-{tiles_of_pod}"
    live = RedisLiveFleet(redis, bus, fleet_id)
    await live.try_lead("benchmark", "token", 600_000)
    await live.begin_term(Leadership(1, "token"))
    fleet, reports = _world(pods * tiles_of_pod, tiles_of_pod)
    await _for_each(reports, lambda one: live.register_pod(one.pod_id, _pod()))
    measured = []
    for _ in range(runs + 1):
        await redis.delete(f"session-manager:{{{fleet_id}}}:loads", f"session-manager:{{{fleet_id}}}:intake")
        await _for_each(reports, lambda one: live.renew_lease(PodLease(one.pod_id, "t"), None, one))
        measured.append(await _read(live, fleet, pods * tiles_of_pod))
    rates = sorted(run.entries / run.cpu_seconds for run in measured[1:])
    clock = statistics.median(run.entries / run.seconds for run in measured[1:])
    turn = max(run.longest_turn_seconds for run in measured[1:]) * 1_000
    print(
        f"| {pods:,} | {tiles_of_pod:,} | {statistics.median(rates):,.0f} | {rates[0]:,.0f} – {rates[-1]:,.0f} "
        f"| {clock:,.0f} | {turn:.1f} |",
        flush=True,
    )
    await bus.aclose()
    await redis.aclose()


async def _for_each(reports: Sequence[LoadReport], call: Callable[[LoadReport], Awaitable[object]]) -> None:
    for start in range(0, len(reports), HANDED_IN_AT_ONCE):
        await asyncio.gather(*(call(one) for one in reports[start : start + HANDED_IN_AT_ONCE]))


async def _read(live: RedisLiveFleet, fleet: Fleet, entries: int) -> Run:
    taken, longest = 0, 0.0
    readings = live.follow_loads()
    started, cpu_started = time.perf_counter(), time.process_time()
    async for reading in readings:
        turn_started = time.perf_counter()
        taken += fleet.ingest(reading.columns).size
        longest = max(longest, time.perf_counter() - turn_started)
        if taken >= entries:
            break
    run = Run(taken, time.perf_counter() - started, time.process_time() - cpu_started, longest)
    await readings.aclose()
    return run


def _world(tiles: int, tiles_of_pod: int) -> tuple[Fleet, list[LoadReport]]:
    cells = sorted(h3.grid_disk(h3.latlng_to_cell(40.0, -100.0, 6), 60))[: tiles // SESSIONS]
    places = [(SessionId(f"session-{n}"), cell) for n in range(SESSIONS) for cell in cells]
    assert len(places) == tiles, "more tiles need a larger disk"
    random = np.random.default_rng(1)
    random.shuffle(places)
    records: dict[TileId, Versioned[TileRecord]] = {}
    reports = []
    for start in range(0, tiles, tiles_of_pod):
        own = [(SessionId(str(session)), int(cell)) for session, cell in places[start : start + tiles_of_pod]]
        pod_id = PodId(f"pod-{start // tiles_of_pod}")
        term = Term(pod_id, start + 1, AssignmentReason.INITIAL, 0, ready=True, acknowledged_at_ms=1)
        records |= {tile_id(*place): Versioned(1, TileRecord(TenantId("t"), owner=term)) for place in own}
        rates = random.lognormal(3, 1.2, len(own)).tolist()
        counts = [int(rate) for rate in rates]
        sessions, own_cells = zip(*own, strict=True)
        epochs = [start + 1] * len(own)
        reports.append(pack_report(pod_id, sessions, own_cells, epochs, rates, rates, counts, counts))
    fleet = Fleet()
    fleet.adopt(FleetSnapshot(1, records, {one.pod_id: Versioned(1, _pod()) for one in reports}))
    return fleet, reports


def _pod() -> PodRecord:
    return PodRecord(service="benchmark", capacity=1e6, lease_ms=600_000, lease_token="t", registered_at_ms=0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=7, help="measured passes of each case, after one to warm up")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.runs))
