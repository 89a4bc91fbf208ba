"""The live world's figures: balance at noon, and how soon a dead or paused pod's tiles work elsewhere.

Runs the demo's own world (a server, five pod processes, the replayed day at 60 x from noon) and prints, in order: when
the fleet was balanced after the start, the state after 60 s, the times from `kill -9` of a pod to its last tile being
ACTIVE and acknowledged elsewhere (as a subscriber sees it), and what the sink did with a pod paused for 10 s.

    python benchmarks/live_world.py [--kills 5]
"""

import argparse
import asyncio
import os
import platform
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from gql import Client, gql
from gql.transport.websockets import WebsocketsTransport

from subgraph.demo.watch import World
from subgraph.demo.world import LiveWorld, live_world
from subgraph.domain.suspicion import DEFAULT_QUARANTINE

NOON = 12 * 3_600.0
PODS = 5
LEASE_SECONDS = 3.0
BALANCED_BELOW = 1.10
SETTLE_SECONDS_MAX = 60.0
REPLAY_SECONDS = 60.0

_ALL_TILES = """
subscription {{ tileChanges(sessionId: "{session}") {{
  removedIds tiles {{ id health load {{ smoothed reportedAt }} assignment {{ podId epoch reason acknowledgedAt }} }}
}} }}
"""


async def main(kills: int) -> None:
    """Run the world once, and print the table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="sm-bench-") as directory, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        started = time.monotonic()
        async with live_world(Path(directory), port=port, pods=PODS, pace=60.0, start_second_of_day=NOON) as world:
            await _until(lambda: _is_balanced(world.watch.world), "balanced")
            seconds = time.monotonic() - started
            print(f"balanced (imbalance <= {BALANCED_BELOW}, nothing unassigned) {seconds:.1f} s after the start")
            await asyncio.sleep(REPLAY_SECONDS)
            _print_state("after 60 s of replay at noon", world)
            await _kill(world, kills)
            await _pause(world)
            _print_state("at the end", world)


def _is_balanced(world: World) -> bool:
    fleet = world.fleet
    loaded = bool(fleet) and fleet["tileCount"] > 100 and sum(pod["load"] for pod in world.pods) > 500
    return loaded and fleet["unassignedTiles"] == 0 and fleet["imbalance"] <= BALANCED_BELOW


def _print_state(when: str, world: LiveWorld) -> None:
    known, totals = world.watch.world, world.watch.world.totals
    unassigned = sum(1 for health in known.health_of.values() if health == "UNASSIGNED")
    heaviest = max(known.load_of.values(), default=0.0)
    mean = sum(known.load_of.values()) / PODS
    print(
        f"{when}: imbalance {known.fleet['imbalance']:.3f}, unassigned {unassigned}, tiles {len(known.health_of)}, "
        f"heaviest tile {heaviest / mean:.1%} of a pod's mean load\n"
        f"    sink: sent {world.channel.sent:,}, accepted {known.audit.accepted:,}, "
        f"twice {known.audit.accepted_twice}, below the highest epoch {known.audit.below_highest_epoch}, "
        f"refused {totals.refused:,}, missed {totals.missed:,}"
    )


async def _kill(world: LiveWorld, kills: int) -> None:
    seconds = []
    for turn in range(kills):
        pod_id = sorted(world.processes.process_of_pod)[turn % PODS]
        pid = world.processes.process_of_pod[pod_id]
        seconds.append(await _until_elsewhere(world, pod_id, partial(os.kill, pid, signal.SIGKILL)))
        print(f"    {pod_id}: {seconds[-1]:.2f} s", flush=True)
        elsewhere_at = time.monotonic()
        world.processes.start_pod(pod_id)
        await _until(partial(_owns_many, world, pod_id), "the new instance has tiles again")
        # Deaths that follow one another sooner make tiles suspect, and a suspect waits in quarantine.
        await asyncio.sleep(max(0.0, elsewhere_at + DEFAULT_QUARANTINE.early_ms / 1_000 + 1.0 - time.monotonic()))
    print(
        f"kill -9 -> every tile ACTIVE and acknowledged elsewhere (lease {LEASE_SECONDS:g} s), {kills} kills: "
        f"median {statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s"
    )


async def _pause(world: LiveWorld) -> None:
    refused = world.watch.world.totals.refused
    pod_id, pid = list(world.processes.process_of_pod.items())[1]
    seconds = await _until_elsewhere(world, pod_id, partial(os.kill, pid, signal.SIGSTOP))
    await asyncio.sleep(max(0.0, 10.0 - seconds))
    os.kill(pid, signal.SIGCONT)
    await _until(partial(_owns_many, world, pod_id), "the paused pod has tiles again")
    await asyncio.sleep(2.0)
    late = world.watch.world.totals.refused - refused
    print(
        f"SIGSTOP for 10 s and SIGCONT: tiles elsewhere after {seconds:.2f} s, {late} late records refused at the sink"
    )


def _owns_many(world: LiveWorld, pod_id: str) -> bool:
    owners = world.watch.world.owner_of.values()
    return sum(1 for owner, _, acknowledged in owners if owner == pod_id and acknowledged) > 20


async def _until_elsewhere(world: LiveWorld, pod_id: str, act: Callable[[], None]) -> float:
    """Seconds from the act until a subscriber has seen all of the pod's tiles acknowledged by others."""
    view = World()
    transport = WebsocketsTransport("ws" + world.url.removeprefix("http"), subprotocols=["graphql-transport-ws"])
    async with Client(transport=transport) as session:
        acted_at: float | None = None
        waiting: set[str] = set()
        async for told in session.subscribe(gql(_ALL_TILES.format(session=world.session_id))):
            view.hear_tiles(told["tileChanges"])
            if acted_at is None:
                waiting = {tile for tile, (owner, _, _) in view.owner_of.items() if owner == pod_id}
                assert waiting, f"{pod_id} owns nothing"
                act()
                acted_at = time.monotonic()
            waiting = {tile for tile in waiting if not _is_elsewhere(view, tile, pod_id)}
            if not waiting:
                return time.monotonic() - acted_at
    raise AssertionError("the subscription ended")


def _is_elsewhere(view: World, tile: str, pod_id: str) -> bool:
    owner = view.owner_of.get(tile)
    return owner is not None and owner[0] != pod_id and owner[2]


async def _until(condition: Callable[[], bool], what: str) -> None:
    give_up_at = time.monotonic() + SETTLE_SECONDS_MAX
    while not condition():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"not within {SETTLE_SECONDS_MAX:g} s: {what}")
        await asyncio.sleep(0.1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=5)
    asyncio.run(main(parser.parse_args().kills))
