"""What callers feel of a backlog of expired sessions that a server sweeps, and how fast it drains.

A small query and a small create over GraphQL, each so often a second on a connection of its own: first while nothing
is due, then while the server sweeps, until nothing is left. The sessions have expired one after the other, as they were
made; or all at once: then those of a batch lie all over the tables, which costs several times as much. The server and
its Valkey have the last core; the clients, and PostgreSQL, have the first.

    python benchmarks/sweeps.py [--sessions 100000] [--seconds 20] [--a-second 50] [--only SQLite] [--at-once]
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from peers.data import Body, Client
from peers.processes import on_core, server
from placing.figures import Verdict, machine_line, print_table, print_verdicts
from sessions import CALLER, FIRST_CORE, LAST_CORE, Databases, own_postgres_process, until_ready
from storm.world import free_port
from sweeping.backlog import is_swept, let_expire, seed, swept_count

from subgraph.adapters.sql.database import Database, open_database

SESSIONS_MAX = 1_000_000
P99_BAR = 2.0
WARM_UP_SECONDS = 2.0
DRAIN_SECONDS_MAX = 3_600.0
POLL_SECONDS = 0.5
QUERY = "query($id: ID!) { session(ref: {id: $id}) { id displayName state } }"
CREATE = """mutation($input: CreateSessionInput!) { createSession(input: $input) {
  session { id } errors { message } } }"""

Took = dict[str, list[float]]


async def main(count: int, seconds: float, a_second: float, only: str | None, at_once: bool) -> None:
    """Measure, and print the tables of each database as soon as they are there."""
    print(machine_line(LAST_CORE))
    with tempfile.TemporaryDirectory(prefix="sm-sweeps-") as made, ExitStack() as cleanups:
        kinds = []
        if only in (None, "SQLite"):
            kinds.append(Databases("SQLite", Path(made), None))
        if only in (None, "PostgreSQL"):
            with on_core(FIRST_CORE):
                kinds.append(Databases("PostgreSQL", Path(made), cleanups.enter_context(own_postgres_process())))
        for kind in kinds:
            await measure(kind, Path(made), count, seconds, a_second, at_once)


async def measure(kind: Databases, directory: Path, count: int, seconds: float, a_second: float, at_once: bool) -> None:
    """Fill a database, load a server before and while it sweeps, and print what came of it."""
    url, seeded_at = await kind.new(), datetime.now(UTC)
    database = await open_database(url)
    await seed(database, CALLER, count, seeded_at)
    with serving(url, directory) as port:
        until = time.perf_counter() + seconds

        async def is_over() -> bool:
            return time.perf_counter() > until

        before = await loaded(port, a_second, is_over)
    await let_expire(database, count, seeded_at, seeded_at - timedelta(hours=1), at_once=at_once)
    with serving(url, directory) as port:
        began = time.perf_counter()
        swept_before = await swept_count(database)
        during = await loaded(port, a_second, lambda: has_drained(database, began))
        elapsed, swept = time.perf_counter() - began, await swept_count(database) - swept_before
    await database.close()
    show(kind.kind, count, before, during)
    print(f"\n{kind.kind}: {swept:,} of {count:,} sessions swept in {elapsed:.0f} s, {swept / elapsed:,.0f} a second\n")


async def has_drained(database: Database, began: float) -> bool:
    """Whether nothing is left to sweep; or it takes too long."""
    await asyncio.sleep(POLL_SECONDS)
    return time.perf_counter() - began > DRAIN_SECONDS_MAX or await is_swept(database, datetime.now(UTC))


@contextmanager
def serving(url: str, directory: Path) -> Iterator[int]:
    """The port of a server on a database, ready, and warm within."""
    port = free_port()
    command = [sys.executable, "-m", "subgraph", "serve", "--port", str(port), "--database-url", url]
    command += ["--data-dir", str(directory / f"server-{port}")]
    with server(command, core=LAST_CORE, log=directory / "server.log", env={}), on_core(FIRST_CORE):
        until_ready(port)
        yield port


async def loaded(port: int, a_second: float, is_over: Callable[[], Awaitable[bool]]) -> Took:
    """Seconds of every query and every create, once warm, until it is over."""
    reader, maker = Client(port), Client(port)
    session_id = (await maker.change(CREATE))["session"]["id"]
    over = asyncio.Event()
    warm_at = time.perf_counter() + WARM_UP_SECONDS

    async def ask() -> None:
        await reader.ask(Body(QUERY, {"id": session_id}))

    async def create() -> None:
        await maker.change(CREATE)

    async def repeat(call: Callable[[], Awaitable[None]]) -> list[float]:
        took, due = [], time.perf_counter()
        while not over.is_set():
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            began = time.perf_counter()
            await call()
            if began > warm_at:
                took.append(time.perf_counter() - began)
            due = max(due + 1 / a_second, began)
        return took

    async def watch() -> None:
        while not await is_over():
            await asyncio.sleep(0.1)
        over.set()

    queries, creates, _ = await asyncio.gather(repeat(ask), repeat(create), watch())
    await reader.close()
    await maker.close()
    return {"query": queries, "create": creates}


def show(kind: str, count: int, before: Took, during: Took) -> None:
    """Print what each took, before and while, and whether the bar holds."""
    rows, verdicts = [], []
    for name in before:
        former, now = figures(before[name]), figures(during[name])
        cells = [f"{value * 1e3:.1f} ms" for value in (*former, *now)]
        ratios = [late / early for early, late in zip(former, now, strict=True)]
        rows.append([f"{kind}, {name}", *cells, *(f"{ratio:.2f}" for ratio in ratios), f"{len(during[name]):,}"])
        bar = f"{name}, {kind}, {count:,} expired sessions: p99 while they are swept ≤ {P99_BAR:g} × before"
        verdicts.append(Verdict(bar, ratios[1] <= P99_BAR, f"{ratios[1]:.2f}"))
    heads = ["", "p50 before", "p99 before", "p50 while", "p99 while", "p50 ×", "p99 ×", "calls while"]
    print_table(heads, rows)
    print_verdicts(verdicts)


def figures(took: Sequence[float]) -> tuple[float, float]:
    """The median and the 99th percentile."""
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=100_000, help=f"expired ones, at most {SESSIONS_MAX:,}")
    parser.add_argument("--seconds", type=float, default=20.0, help="of the measurement before")
    parser.add_argument("--a-second", type=float, default=50.0, help="queries, and as many creates")
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"))
    parser.add_argument(
        "--at-once", action="store_true", help="all have expired at the same moment, so lie in no order"
    )
    given = parser.parse_args()
    if not 1 <= given.sessions <= SESSIONS_MAX:
        parser.error(f"--sessions must lie between 1 and {SESSIONS_MAX:,}")
    asyncio.run(main(given.sessions, given.seconds, given.a_second, given.only, given.at_once))
