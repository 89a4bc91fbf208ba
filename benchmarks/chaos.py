"""Ten minutes of faults on a world of real processes, judged where the records arrive.

Two servers on one Valkey and one SQLite file, five pods of the demo behind gates, the replayed day at 60 x from noon.
At random, from a seed, pods are killed, paused or cut off, servers killed or paused, the Valkey killed, paused or
emptied. In the end everything is mended, and every tile must be worked on again. The sink is apart from all this.

    python benchmarks/chaos.py [--seconds 600] [--every 5] [--seed 1]
"""

import argparse
import asyncio
import os
import platform
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import cast

from placing.figures import Verdict, print_table, print_verdicts
from redis.asyncio import Redis
from storm.faults import Storm
from storm.world import World, storm_world

from subgraph.client.audit import SinkAudit
from subgraph.client.redis_sink import RedisSink, sink_key
from subgraph.demo.pod import SINK_NAME

PODS = 5
SETTLE_SECONDS = 15.0
HEAL_SECONDS_MAX = 300.0
"""Longer than a quarantine: a tile whose pods were killed again and again is suspected of it, and waits for a while."""
FAULTS_MIN = 100
# A gap is told of tiles that had a record at least so often, on both sides of it: of others it would be their silence.
BUSY_EVERY_MS = 500
ENTRIES_PER_READ = 1_000
SHARES = (0.5, 0.9, 0.99, 1.0)


async def main(seconds: float, every: float, seed: int) -> None:
    """Run the storm, and print the table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, seed {seed}")
    with tempfile.TemporaryDirectory(prefix="sm-storm-") as directory:
        async with storm_world(Path(directory), PODS) as world:
            gaps = Gaps(world.data)
            audit = SinkAudit(world.data, SINK_NAME)
            watching = asyncio.create_task(watch(audit, gaps))
            await asyncio.sleep(SETTLE_SECONDS)
            storm = Storm(world, seed)
            await storm.blow(seconds, every)
            healed = await heal(world)
            storm.rest()
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            while await audit.follow():
                pass
            await report(world, storm.counts, audit, gaps, healed)
            print(*storm.last_words, sep="\n\n")


async def watch(audit: SinkAudit, gaps: "Gaps") -> None:
    """Read the sink's stream as it grows, before it is trimmed."""
    while True:
        while await audit.follow():
            pass
        await gaps.follow()
        await asyncio.sleep(0.5)


async def heal(world: World) -> tuple[float, int, int]:
    """Wait until every tile is ACTIVE and acknowledged: after how many seconds, how many tiles are not, of how many."""
    began = time.monotonic()
    waiting, tiles = -1, 0
    while time.monotonic() - began < HEAL_SECONDS_MAX:
        owners = await world.owners()
        if owners:
            waiting, tiles = sum(not acknowledged for _, _, acknowledged in owners.values()), len(owners)
            if not waiting:
                break
        await asyncio.sleep(0.1)
    return time.monotonic() - began, waiting, tiles


class Gaps:
    """How long tiles were silent from the last record of one epoch to the first of the next, as the sink took them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._stream = sink_key(SINK_NAME, "accepted")
        self._cursor = "0-0"
        self._last: dict[str, tuple[int, int, int]] = {}  # tile: epoch, time of its last entry, how long before it
        self._changed: dict[str, int] = {}  # tile: its gap, until the next entry shows that it is busy
        self.found_ms: list[int] = []

    async def follow(self) -> None:
        """Read on to the end."""
        while read := await self._redis.xrange(self._stream, f"({self._cursor}", count=ENTRIES_PER_READ):
            for entry_id, fields in cast("list[tuple[bytes, dict[bytes, bytes]]]", read):
                self._cursor = entry_id.decode()
                at_ms = int(self._cursor.partition("-")[0])
                self._take(fields[b"tile"].decode(), int(fields[b"epoch"]), at_ms)

    def _take(self, tile: str, epoch: int, at_ms: int) -> None:
        before = self._last.get(tile)
        if before is not None:
            silent_ms = at_ms - before[1]
            gap = self._changed.pop(tile, None)
            if gap is not None and silent_ms <= BUSY_EVERY_MS:
                self.found_ms.append(gap)
            if epoch != before[0] and before[2] <= BUSY_EVERY_MS:
                self._changed[tile] = silent_ms
        self._last[tile] = epoch, at_ms, at_ms - before[1] if before else BUSY_EVERY_MS + 1


async def report(
    world: World, counts: Counter[str], audit: SinkAudit, gaps: Gaps, healed: tuple[float, int, int]
) -> None:
    """Print what was done, and what the sink says."""
    totals = await RedisSink(world.data, SINK_NAME, "report").totals()
    found, (heal_seconds, waiting, tiles) = audit.findings, healed
    print_table(["fault", "times"], [[name, str(count)] for name, count in counts.most_common()])
    print(f"\naccepted {found.accepted:,}, refused at the fence {totals.refused:,}, missed {totals.missed:,}")
    silent = sorted(gaps.found_ms)
    if silent:
        told = ", ".join(f"{share:.0%} ≤ {silent[round(share * (len(silent) - 1))]:,} ms" for share in SHARES)
        print(f"gaps between two owners of busy tiles: {len(silent):,}; {told}")
    faults = sum(counts.values())
    print_verdicts(
        [
            Verdict(f"at least {FAULTS_MIN} faults", faults >= FAULTS_MIN, str(faults)),
            Verdict("no record accepted twice", not found.accepted_twice, str(found.accepted_twice)),
            Verdict("none below the highest epoch", not found.below_highest_epoch, str(found.below_highest_epoch)),
            Verdict("nothing of the stream was lost to the audit", not found.entries_lost, str(found.entries_lost)),
            Verdict("no tile left unowned", not waiting, f"{waiting} of {tiles}, {heal_seconds:.1f} s after the last"),
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--every", type=float, default=5.0, help="seconds between two faults, on average")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.seconds, arguments.every, arguments.seed))
