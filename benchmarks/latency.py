"""What a control cycle does to the API's latency: the server that leads next to one that only follows.

Two servers on one Valkey, a process that plays all pods; every tile's load is new in every cycle, about one tile in a
hundred moves. Both servers take in all of that; one of them runs the control loop besides. A client asks them in turn.

    python benchmarks/latency.py [--size 100000x1000] [--seconds 60]
"""

import argparse
import asyncio
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import httpx
from cycling.pods import SESSION, cells_around
from placing.figures import Verdict, print_table, print_verdicts
from redis.asyncio import Redis
from storm.world import BENCHMARKS, World, free_port

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey

FLEET = "default"
MEMORY_BYTES_MAX = 8 << 30
REQUESTS_PER_SECOND = 50
REPORT_SECONDS = 1.0
WARM_UP_SECONDS = 20.0
READY_SECONDS_MAX = 300.0
RATIO_BAR = 2.0
QUERY = "query($id: ID!) { tile(id: $id) { id health load { smoothed } assignment { podId epoch } } }"


async def main(tiles: int, pods: int, seconds: float) -> None:
    """Measure, and print the table."""
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory(prefix="sm-latency-") as name:
        valkey = EmbeddedValkey(Path(name) / "valkey", memory_bytes_max=MEMORY_BYTES_MAX)
        await valkey.start()
        world = World(Path(name), valkey, valkey, Redis.from_url(valkey.url))
        try:
            leader, follower = free_port(), free_port()
            world.start_server(leader)
            await until_led(world, leader)
            world.start_server(follower)
            playing = await play_pods(valkey.url, tiles, pods)
            try:
                await asyncio.sleep(WARM_UP_SECONDS)
                found = await ask_in_turn({"leads": leader, "follows": follower}, tiles, seconds)
            finally:
                playing.terminate()
                await playing.wait()
        finally:
            world.end()
            await world.data.aclose()
            await valkey.stop()
    shares = (0.5, 0.9, 0.99, 1.0)
    rows = [[name, f"{len(ms):,}", *(f"{quantile(ms, share):.1f}" for share in shares)] for name, ms in found.items()]
    print_table([f"{tiles:,} tiles × {pods:,} pods", "requests", "p50 ms", "p90 ms", "p99 ms", "worst ms"], rows)
    ratio = quantile(found["leads"], 0.99) / quantile(found["follows"], 0.99)
    print_verdicts(
        [Verdict(f"p99 of who leads ≤ {RATIO_BAR:g} × that of who follows", ratio <= RATIO_BAR, f"{ratio:.2f}")]
    )


async def until_led(world: World, port: int) -> None:
    """Wait until the server leads."""
    give_up_at = time.monotonic() + READY_SECONDS_MAX
    while True:
        answer = await world.ask_at(port, "{ fleet { lastCycleAt } }")
        if answer and answer["fleet"]["lastCycleAt"]:
            return
        if time.monotonic() > give_up_at:
            raise SystemExit("no server leads")
        await asyncio.sleep(0.1)


async def play_pods(url: str, tiles: int, pods: int) -> asyncio.subprocess.Process:
    """Start the process that plays all pods, and wait until they are at work."""
    command = [sys.executable, "-m", "cycling.pods", url, FLEET, str(tiles), str(pods), str(REPORT_SECONDS)]
    playing = await asyncio.create_subprocess_exec(*command, cwd=BENCHMARKS, stdout=asyncio.subprocess.PIPE)
    assert playing.stdout is not None
    async with asyncio.timeout(READY_SECONDS_MAX):
        if (await playing.stdout.readline()).strip() != b"ready":
            raise SystemExit("the pods ended before they were ready")
    return playing


async def ask_in_turn(ports: dict[str, int], tiles: int, seconds: float) -> dict[str, list[float]]:
    """Ask each server at a steady rate, and return how long each answer took, from when it was due, in milliseconds."""
    ids = [f"{SESSION}:{cell:x}" for cell in cells_around(tiles)]
    found: dict[str, list[float]] = {name: [] for name in ports}
    async with httpx.AsyncClient(timeout=30) as http, asyncio.TaskGroup() as asking:

        async def ask(name: str, number: int, due_at: float) -> None:
            body = {"query": QUERY, "variables": {"id": ids[number * 7919 % len(ids)]}}
            answer = (await http.post(f"http://127.0.0.1:{ports[name]}/graphql", json=body)).json()
            if answer.get("errors") or answer["data"]["tile"] is None:
                raise SystemExit(f"{name}: {answer}")
            found[name].append((time.perf_counter() - due_at) * 1_000)

        began = time.perf_counter()
        for number in range(int(seconds * REQUESTS_PER_SECOND)):
            for turn, name in enumerate(ports):
                due_at = began + (number + turn / len(ports)) / REQUESTS_PER_SECOND
                await asyncio.sleep(max(0.0, due_at - time.perf_counter()))
                asking.create_task(ask(name, number, due_at))
    return found


def quantile(values: list[float], share: float) -> float:
    """The value that this share of them does not exceed."""
    return sorted(values)[round(share * (len(values) - 1))]


def size(text: str) -> tuple[int, int]:
    """Tiles and pods of `100000x1000`."""
    tiles, pods = text.split("x")
    return int(tiles), int(pods)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=size, default=(100_000, 1_000))
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    tiles_given, pods_given = arguments.size
    asyncio.run(main(tiles_given, pods_given, arguments.seconds))
