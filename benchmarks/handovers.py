"""How long a handover interrupts: the drain of a pod with a thousand tiles, and the loss of the leading server.

Drain: a pod of three owns 1,000 tiles, each with twenty records a second, and is drained. For every tile, the gap runs
from the last record that the sink took of one owner to the first of the next, by the sink's own clock.
Leader: of two servers the one that leads is killed (`kill -9`); the time runs to the end of the other's first cycle.

    python benchmarks/handovers.py [--drains 3] [--leaders 10]
"""

import argparse
import asyncio
import contextlib
import os
import platform
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import h3.api.basic_str as h3
from handing.writer import SINK_NAME
from placing.figures import Verdict, print_table, print_verdicts
from redis.asyncio import Redis
from storm.world import World, free_port, quiet_world

from subgraph.client.redis_sink import RedisSink, sink_key

TILES = 1_000
PODS = ("pod-1", "pod-2", "pod-3")
CELLS = sorted(h3.grid_disk(h3.latlng_to_cell(39.8, -98.6, 6), 20))[:TILES]
WAIT_SECONDS_MAX = 90.0
POLL_SECONDS = 0.02
AFTER_SECONDS = 2.0
GAP_MS_BAR, LEADER_SECONDS_BAR = 200, 3.0
SHARES = (0.5, 0.9, 0.99, 1.0)

POD_COMMAND = "mutation($input: PodRefInput!) {{ {0}(input: $input) {{ errors {{ message }} }} }}"
REGISTER = "mutation($input: RegisterTilesInput!) { registerTiles(input: $input) { registered errors { message } } }"
PAUSE = "mutation($input: PauseRebalancingInput!) { pauseRebalancing(input: $input) { errors { message } } }"
RESUME = "mutation { resumeRebalancing { errors { message } } }"
LEADER = "{ fleet { leader lastCycleAt pods { edges { node { id status } } } } }"


async def main(drains: int, leaders: int) -> None:
    """Measure both, and print the tables."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    gaps_ms, missed, seconds_to_drain = [], 0, []
    for _ in range(drains):
        async with led_world(servers=1) as world:
            found, lost, seconds = await drain(world)
            gaps_ms += found
            missed += lost
            seconds_to_drain.append(seconds)
    async with led_world(servers=2) as world:
        took = [await lose_leader(world) for _ in range(leaders)]
    gaps_ms.sort()
    told = [f"{gaps_ms[round(share * (len(gaps_ms) - 1))]:,}" for share in SHARES]
    print_table(
        ["drains", "handed over", "seconds", *(f"{share:.0%} of gaps ≤ ms" for share in SHARES)],
        [[f"{drains}", f"{len(gaps_ms):,}", f"{statistics.median(seconds_to_drain):.1f}", *told]],
    )
    print_table(
        ["leaders killed", "median s", "worst s"],
        [[f"{leaders}", f"{statistics.median(took):.2f}", f"{max(took):.2f}"]],
    )
    print_verdicts(
        [
            Verdict(f"drain: no tile's gap > {GAP_MS_BAR} ms", gaps_ms[-1] <= GAP_MS_BAR, f"{gaps_ms[-1]} ms"),
            Verdict("drain: nothing lost", not missed, f"{missed} records"),
            Verdict(
                f"leader killed: first cycle of the next ≤ {LEADER_SECONDS_BAR:g} s",
                max(took) <= LEADER_SECONDS_BAR,
                f"{max(took):.2f} s",
            ),
        ]
    )


@contextlib.asynccontextmanager
async def led_world(servers: int) -> AsyncIterator[World]:
    """A world without pods of which one server leads."""
    with tempfile.TemporaryDirectory(prefix="sm-handovers-") as directory:
        async with quiet_world(Path(directory), servers) as world:
            await until(lambda: leads(world), "a server leads")
            yield world


async def drain(world: World) -> tuple[list[int], int, float]:
    """Drain a pod that owns all tiles: each tile's gap in ms, the records lost, and the seconds it took."""
    port = world.live_ports()[0]

    async def command(name: str, *pod_ids: str) -> None:
        for pod_id in pod_ids:
            await done(world, POD_COMMAND.format(name), {"podId": pod_id}, name)

    def start(pod_id: str) -> None:
        url = f"http://127.0.0.1:{port}/graphql"
        world.pods[pod_id] = world.start(pod_id, "handing.writer", url, world.data_store.url, pod_id)

    start(PODS[0])
    await until(lambda: are_ready(world, *PODS[:1]), "the pod is registered")
    await done(world, REGISTER, {"sessionId": world.session_id, "coverage": {"cells": CELLS}}, "registerTiles")
    await until(lambda: owned_by(world, *PODS[:1]), "the pod owns all tiles")
    until_at = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    await done(world, PAUSE, {"until": until_at, "reason": "the others start"}, "pauseRebalancing")
    for pod_id in PODS[1:]:
        start(pod_id)
    await until(lambda: are_ready(world, *PODS), "the others are registered")
    await command("cordonPod", *PODS[1:])
    await done(world, RESUME, None, "resumeRebalancing")
    await asyncio.sleep(AFTER_SECONDS)

    began = time.monotonic()
    await command("uncordonPod", *PODS[1:])
    await command("drainPod", PODS[0])
    await until(lambda: owned_by(world, *PODS[1:]), "all tiles are with others")
    seconds = time.monotonic() - began
    await asyncio.sleep(AFTER_SECONDS)
    world.end()
    totals = await RedisSink(world.data, SINK_NAME, "reader").totals()
    return await gaps_of(world.data), totals.missed, seconds


async def gaps_of(sink: Redis) -> list[int]:
    """From the last record of one epoch to the first of the next, of every tile, in milliseconds."""
    last: dict[bytes, tuple[bytes, int]] = {}
    found, cursor = [], "-"
    while read := await sink.xrange(sink_key(SINK_NAME, "accepted"), cursor, count=10_000):
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", read)
        for entry_id, fields in entries:
            at_ms = int(entry_id.partition(b"-")[0])
            before = last.get(fields[b"tile"])
            if before is not None and before[0] != fields[b"epoch"]:
                found.append(at_ms - before[1])
            last[fields[b"tile"]] = fields[b"epoch"], at_ms
        cursor = "(" + entries[-1][0].decode()
    return found


async def lose_leader(world: World) -> float:
    """Kill the server that leads, and return after how many seconds the other has ended a cycle; start a new one."""
    fleet = await leads(world)
    former = fleet["leader"]
    process_id = int(former.rpartition("/")[2])
    began = time.monotonic()
    os.kill(process_id, signal.SIGKILL)

    killed_at = datetime.now(UTC)

    async def cycled() -> bool:
        now = await world.ask(LEADER)
        if not now or now["fleet"]["leader"] in (None, former) or now["fleet"]["lastCycleAt"] is None:
            return False
        return datetime.fromisoformat(now["fleet"]["lastCycleAt"]) > killed_at

    await until(cycled, "the other leads")
    seconds = time.monotonic() - began
    world.start_server(free_port())
    await until(lambda: both_answer(world), "the new server is ready")
    return seconds


async def leads(world: World) -> Any:
    """The fleet, if a server leads it."""
    answer = await world.ask(LEADER)
    return answer["fleet"] if answer and answer["fleet"]["leader"] and answer["fleet"]["lastCycleAt"] else None


async def both_answer(world: World) -> bool:
    """Whether two servers do."""
    answers = [await world.ask_at(port, LEADER) for port in world.live_ports()]
    return len(answers) == 2 and all(answers)


async def are_ready(world: World, *pod_ids: str) -> bool:
    """Whether these pods are."""
    answer = await world.ask(LEADER)
    if not answer:
        return False
    pods = [edge["node"] for edge in answer["fleet"]["pods"]["edges"]]
    return {pod["id"] for pod in pods if pod["status"] == "READY"} == set(pod_ids)


async def owned_by(world: World, *pod_ids: str) -> bool:
    """Whether every tile is worked on by one of these pods."""
    owners = await world.owners() or {}
    return len(owners) == TILES and all(pod in pod_ids and known for pod, _, known in owners.values())


async def done(world: World, mutation: str, given: dict[str, Any] | None, name: str) -> None:
    """Have it done, or fail."""
    answer = await world.ask(mutation, **({"input": given} if given else {}))
    if answer is None or answer[name]["errors"]:
        raise RuntimeError(f"{name}: {answer}")


async def until(condition: Callable[[], Awaitable[Any]], what: str) -> None:
    """Wait for it."""
    give_up_at = time.monotonic() + WAIT_SECONDS_MAX
    while not await condition():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"not within {WAIT_SECONDS_MAX:g} s: {what}")
        await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--drains", type=int, default=3)
    parser.add_argument("--leaders", type=int, default=10)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.drains, arguments.leaders))
