"""How long the largest operations keep everybody else of a process waiting.

    python benchmarks/turns.py [--rounds 3] [--only tiles]

One process, in it the server's application (embedded Valkey, SQLite), and beside it a task that asks for its turn again
and again. While each operation runs, `held` is the longest that this task waited for a turn, in processor time of the
loop's thread, which other work on the machine hardly touches; `by the clock` the same as a client would feel it. An
operation is answered as over HTTP: from its body's bytes to the bytes of its answer.
"""

import argparse
import asyncio
import gc
import json
import os
import platform
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import uvloop
from turning.operations import operations
from turning.world import LEASE_SECONDS, Server, world

from subgraph.adapters.sql.database import sqlite_url
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.app import create_app
from subgraph.settings import Settings


class Probe:
    """Asks for its turn again and again, and remembers the longest that it waited."""

    def __init__(self) -> None:
        self.turns = 0
        self.held_s = self.held_clock_s = 0.0

    async def run(self) -> None:
        """Until cancelled."""
        cpu, clock = time.thread_time(), time.perf_counter()
        while True:
            await asyncio.sleep(0)
            cpu_now, clock_now = time.thread_time(), time.perf_counter()
            self.held_s = max(self.held_s, cpu_now - cpu)
            self.held_clock_s = max(self.held_clock_s, clock_now - clock)
            cpu, clock = cpu_now, clock_now
            self.turns += 1


@asynccontextmanager
async def probing() -> AsyncIterator[Probe]:
    """A probe at work."""
    probe = Probe()
    task = asyncio.create_task(probe.run())
    await asyncio.sleep(0)
    try:
        yield probe
        await asyncio.sleep(0)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def main(args: argparse.Namespace, directory: Path) -> None:
    """Measure, and print the table."""
    core = sorted(os.sched_getaffinity(0))[-1]
    print(f"{platform.platform()}, core {core}, Python {platform.python_version()}, worst of {args.rounds}\n")
    valkey = EmbeddedValkey(directory)
    await valkey.start()
    settings = Settings(
        data_dir=directory,
        database_url=sqlite_url(directory / "sessions.sqlite3"),
        redis_url=valkey.url,
        pod_lease_seconds=LEASE_SECONDS,
        pod_lease_seconds_max=LEASE_SECONDS,
        split_tiles=False,
    )
    app = create_app(settings)
    server = Server(app)
    async with AsyncExitStack() as cleanups:
        cleanups.push_async_callback(valkey.stop)
        await cleanups.enter_async_context(app.router.lifespan_context(app))
        made = await cleanups.enter_async_context(world(server))
        os.sched_setaffinity(0, {core})
        gc.collect()
        gc.freeze()
        print("| operation | held, ms | by the clock | in all, ms | turns of others | answer, KB |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for name, wanted in operations(made).items():
            if not any(part in name for part in args.only):
                continue
            body = json.dumps(wanted).encode()
            rounds = []
            for _ in range(args.rounds):
                await asyncio.sleep(0.2)
                async with probing() as probe:
                    started = time.thread_time()
                    answer = await server.send(body)
                    took = time.thread_time() - started
                rounds.append((probe.held_s, probe.held_clock_s, took, probe.turns))
            said = json.loads(answer.body)
            problem = f" ({str(said['errors'][0])[:150]})" if said.get("errors") and "no ref" not in name else ""
            held, clock, took, turns = (
                max(one[0] for one in rounds),
                max(one[1] for one in rounds),
                min(one[2] for one in rounds),
                min(one[3] for one in rounds),
            )
            print(
                f"| {name}{problem} | {held * 1e3:.1f} | {clock * 1e3:.0f} | {took * 1e3:,.0f} | {turns:,} | "
                f"{len(answer.body) / 1e3:,.0f} |",
                flush=True,
            )
        if args.idle:
            async with probing() as probe:
                await asyncio.sleep(args.idle)
            print(f"| nothing, {args.idle:g} s | {probe.held_s * 1e3:.1f} | {probe.held_clock_s * 1e3:.0f} | | | |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[""], help="parts of names")
    parser.add_argument("--idle", type=float, default=5.0)
    with tempfile.TemporaryDirectory(prefix="turns-") as home:
        uvloop.run(main(parser.parse_args(), Path(home)))
