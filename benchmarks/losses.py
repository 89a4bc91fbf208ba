"""How long a fleet takes to come back when its live store loses everything, or dies, and who owns what then.

Two servers on one Valkey and one SQLite file, five pods of the demo, the replayed day at 60 x from noon. Again and
again the Valkey is emptied (FLUSHALL), or killed and started again at once. The time runs from there until every tile
that was owned is ACTIVE and acknowledged at an epoch above all before. The sink is apart from all this.

    python benchmarks/losses.py [--rounds 5]
"""

import argparse
import asyncio
import os
import platform
import signal
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from placing.figures import Verdict, print_table, print_verdicts
from redis.asyncio import Redis
from storm.world import World, storm_world

from subgraph.client.audit import SinkAudit
from subgraph.demo.pod import SINK_NAME

PODS = 5
SETTLE_SECONDS = 15.0
REST_SECONDS = 8.0
"""Between two losses: longer than what nobody claims waits for."""
GIVE_UP_SECONDS = 60.0
POLL_SECONDS = 0.05
BACK_SECONDS_BAR = 10.0
KEPT_SHARE_BAR = 0.95

Owners = dict[str, tuple[str, int, bool]]


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of one loss. `seconds`: None if tiles were left when it was given up."""

    tiles: int
    seconds: float | None
    kept: int


async def main(rounds: int) -> None:
    """Lose and recover, and print the tables."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="sm-losses-") as directory:
        async with storm_world(Path(directory), PODS) as world:
            await asyncio.sleep(SETTLE_SECONDS)
            found = {name: [await recovery(world, lose) for _ in range(rounds)] for name, lose in LOSSES.items()}
            audit = SinkAudit(world.data, SINK_NAME)
            while await audit.follow():
                pass
    print_table(
        ["loss", "rounds", "tiles", "all ACTIVE again, median", "at most", "kept their owner, at least"],
        [[name, str(len(of)), str(of[-1].tiles), *_figures(of)] for name, of in found.items()],
    )
    every = [one for of in found.values() for one in of]
    seconds, share = max(map(_seconds, every)), min(one.kept / one.tiles for one in every)
    twice, late = audit.findings.accepted_twice, audit.findings.below_highest_epoch
    print_verdicts(
        [
            Verdict(f"all tiles ACTIVE again within {BACK_SECONDS_BAR:g} s", seconds <= BACK_SECONDS_BAR, _s(seconds)),
            Verdict(f"at least {KEPT_SHARE_BAR:.0%} keep their owner", share >= KEPT_SHARE_BAR, f"{share:.1%}"),
            Verdict("no record accepted twice", not twice, str(twice)),
            Verdict("none below the highest epoch", not late, str(late)),
        ]
    )


async def emptied(world: World) -> None:
    """Nothing is left of what it held, and nothing has ended."""
    async with Redis.from_url(world.fleet_store.url) as redis:
        await redis.flushall()


async def killed(world: World) -> None:
    """It comes back with all that it had answered."""
    assert world.fleet_store.pid is not None
    os.kill(world.fleet_store.pid, signal.SIGKILL)
    while world.fleet_store.alive():
        await asyncio.sleep(POLL_SECONDS)
    await world.fleet_store.start()


LOSSES: dict[str, Callable[[World], Awaitable[None]]] = {"emptied": emptied, "killed, started again": killed}


async def recovery(world: World, lose: Callable[[World], Awaitable[None]]) -> Recovered:
    """Lose once, after a rest, and wait until all that was owned is worked on again."""
    await asyncio.sleep(REST_SECONDS)
    before = await settled(world)
    highest = max(epoch for _, epoch, _ in before.values())
    began = time.monotonic()
    await lose(world)
    while time.monotonic() < began + GIVE_UP_SECONDS:
        after = await world.owners() or {}
        now = {tile: after[tile] for tile in before if tile in after}
        if len(now) == len(before) and all(pod and acked and epoch > highest for pod, epoch, acked in now.values()):
            kept = sum(now[tile][0] == before[tile][0] for tile in now)
            return Recovered(len(before), time.monotonic() - began, kept)
        await asyncio.sleep(POLL_SECONDS)
    return Recovered(len(before), None, 0)


async def settled(world: World) -> Owners:
    """The owners, once every tile has one that says it works."""
    while True:
        owners = await world.owners()
        if owners and all(acked for _, _, acked in owners.values()):
            return owners
        await asyncio.sleep(POLL_SECONDS)


def _seconds(one: Recovered) -> float:
    return float("inf") if one.seconds is None else one.seconds


def _figures(of: list[Recovered]) -> list[str]:
    seconds = sorted(map(_seconds, of))
    kept = min(one.kept / one.tiles for one in of)
    return [_s(seconds[len(seconds) // 2]), _s(seconds[-1]), f"{kept:.1%}"]


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    asyncio.run(main(parser.parse_args().rounds))
