"""The control cycle's figures: what a leader needs for a fleet in motion, in time and in memory.

A Valkey, a process that plays all pods, and this process, which leads: as `session-manager serve` does, without HTTP.
Every tile's load is new in every cycle, and about one tile in a hundred moves.

    python benchmarks/cycle.py [--sizes 100000x1000 1000000x10000] [--cycles 15]
"""

import argparse
import asyncio
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from secrets import token_urlsafe

from placing.figures import print_table

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import open_database, sqlite_url
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.loads import LoadMetric
from subgraph.operations.control.control_cycle import ControlCycle
from subgraph.operations.control.control_loop import ControlLoop
from subgraph.operations.control.cycle_facts import CycleFacts
from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.control.recovery import Recovery
from subgraph.operations.fleet.fleet_view import FleetView

FLEET = "benchmark"
LEASE_MS = 60_000
POD_LEASE_MS_MAX = 1_000
"""A new leader takes nothing from anyone for so long: nobody here dies."""
MEMORY_BYTES_MAX = 8 << 30
WARM_UP_CYCLES = 5
TURN_SECONDS = 0.002
TILES_A_SECOND_MAX = 200_000
"""What one core of pods can report here: larger fleets report, and are balanced, less often."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From one regular cycle to the next: processor time of this process in all, and what the cycles did."""

    cpu_ms: float
    cycle_ms: float
    longest_turn_ms: float
    moves: int
    settled: int
    conflicts: int


@dataclass(slots=True)
class Meter:
    """What one interval after the other came to."""

    intervals: list[Interval] = field(default_factory=list)
    longest_turn_ms: float = 0.0
    _cycle_ms: float = 0.0
    _moves: int = 0
    _settled: int = 0
    _conflicts: int = 0
    _cpu_at_seconds: float = field(default_factory=time.process_time)

    def observe(self, facts: CycleFacts) -> None:
        """Take in a cycle."""
        self._cycle_ms = max(self._cycle_ms, facts.report.duration_ms)
        self._moves += len(facts.moves)
        self._settled += facts.settled_tiles
        self._conflicts += facts.conflicts

    def close(self) -> None:
        """End the interval."""
        now = time.process_time()
        self.intervals.append(
            Interval(
                (now - self._cpu_at_seconds) * 1_000,
                self._cycle_ms,
                self.longest_turn_ms,
                self._moves,
                self._settled,
                self._conflicts,
            )
        )
        self._cpu_at_seconds, self.longest_turn_ms, self._cycle_ms = now, 0.0, 0.0
        self._moves = self._settled = self._conflicts = 0


async def watch_turns(meter: Meter) -> None:
    """Note for how long anything else in this process would have had to wait for its turn."""
    while True:
        began = time.perf_counter()
        await asyncio.sleep(TURN_SECONDS)
        late_ms = (time.perf_counter() - began - TURN_SECONDS) * 1_000
        meter.longest_turn_ms = max(meter.longest_turn_ms, late_ms)


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def lead(url: str, database: Path, seconds: float, meter: Meter, ready: asyncio.Event) -> None:
    """Be a leader until cancelled."""
    bus = RedisEventBus(connect(url))
    live = RedisLiveFleet(connect(url), bus, FLEET)
    view = FleetView(live, LEASE_MS, LoadMetric.RECORDS, time.monotonic)
    sql = await open_database(sqlite_url(database))
    candidacy = Candidacy(
        live, SqlFleetRegister(sql), view, FLEET, "benchmark", LEASE_MS, POD_LEASE_MS_MAX, partial(token_urlsafe, 16)
    )
    recovery = Recovery(live, view, candidacy, SqlCoverageRegister(sql, FLEET))
    cycle = ControlCycle(
        live, view, candidacy, recovery, PlacementPolicy(), HandoffPolicy(), meter.observe, time.monotonic
    )
    loop = ControlLoop(view, candidacy, cycle, seconds, time.monotonic)
    async with asyncio.TaskGroup() as tasks:
        for work in (bus.run(), view.run(), loop.run(), watch_turns(meter)):
            tasks.create_task(work)
        await ready.wait()


async def measure(tiles: int, pods: int, cycles: int) -> list[str]:
    """Run a fleet of one size, and return its line of the table."""
    seconds = max(1.0, tiles / TILES_A_SECOND_MAX)
    own_core, other_core = max(os.sched_getaffinity(0)), min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {other_core})
    with tempfile.TemporaryDirectory(prefix="sm-cycle-") as directory:
        valkey = EmbeddedValkey(Path(directory) / "valkey", memory_bytes_max=MEMORY_BYTES_MAX)
        await valkey.start()
        os.sched_setaffinity(0, {own_core})
        before_bytes, meter, done = resident_bytes(), Meter(), asyncio.Event()
        leading = asyncio.create_task(lead(valkey.url, Path(directory) / "db", seconds, meter, done))
        command = [sys.executable, "-m", "cycling.pods", valkey.url, FLEET, str(tiles), str(pods), str(seconds)]
        fleet = await asyncio.create_subprocess_exec(
            "taskset", "-c", str(other_core), *command, cwd=Path(__file__).parent, stdout=subprocess.PIPE
        )
        try:
            assert fleet.stdout is not None
            said = asyncio.create_task(fleet.stdout.readline())
            await asyncio.wait([said, leading], return_when=asyncio.FIRST_COMPLETED)
            if leading.done():
                leading.result()
            if (await said).strip() != b"ready":
                raise RuntimeError("the pods ended before they were ready")
            for _ in range(cycles + WARM_UP_CYCLES):
                await asyncio.sleep(seconds)
                meter.close()
            grown_bytes = resident_bytes() - before_bytes
        finally:
            fleet.terminate()
            await fleet.wait()
            leading.cancel()
            await asyncio.wait([leading])
            await valkey.stop()
    return line(f"{tiles:,} × {pods:,}", seconds, meter.intervals[WARM_UP_CYCLES:], grown_bytes / tiles)


def line(size: str, seconds: float, intervals: list[Interval], bytes_a_tile: float) -> list[str]:
    """A line of the table: medians, and the worst."""

    def median(values: list[float]) -> str:
        return f"{statistics.median(values):,.0f} ({max(values):,.0f})"

    return [
        size,
        f"{seconds:g} s",
        median([one.cpu_ms for one in intervals]),
        median([one.cycle_ms for one in intervals]),
        median([one.longest_turn_ms for one in intervals]),
        median([float(one.moves) for one in intervals]),
        f"{sum(one.conflicts for one in intervals)}",
        f"{bytes_a_tile:.0f}",
    ]


async def main(sizes: list[tuple[int, int]], cycles: int) -> None:
    """Measure every size, and print the table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    heads = ["tiles × pods", "every", "cpu ms", "cycle ms", "longest turn ms", "moves", "conflicts", "bytes a tile"]
    print_table(heads, [await measure(tiles, pods, cycles) for tiles, pods in sizes])


def size(text: str) -> tuple[int, int]:
    """Tiles and pods of `100000x1000`."""
    tiles, pods = text.split("x")
    return int(tiles), int(pods)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", nargs="+", type=size, default=[(100_000, 1_000), (1_000_000, 10_000)])
    parser.add_argument("--cycles", type=int, default=15)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.sizes, arguments.cycles))
