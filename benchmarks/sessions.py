"""Durable creates a second: by the operations, over HTTP, and by a bare loop of the same statements.

On SQLite and on PostgreSQL, each durable at every commit. The process that is measured has the last core to itself;
PostgreSQL and the HTTP clients are on the first.

    python benchmarks/sessions.py [--seconds 2] [--rounds 5]
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

from creating.bare_loop import Statement, postgres_rate, recorded, sqlite_rate
from peers.load import run_load
from peers.processes import on_core, server
from placing.figures import Verdict, machine_line, print_table, print_verdicts
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from storm.world import free_port

from subgraph.adapters.sql.database import open_database, sqlite_url
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.ids import TenantId
from subgraph.domain.new_session import NewSession
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_making import SessionMaking
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.sessions import Sessions

ROOT = Path(__file__).parent.parent
FIRST_CORE, LAST_CORE = 0, (os.cpu_count() or 1) - 1
CALLER = Caller(TenantId("default"), "bench", ALL_SCOPES)
CALLERS = (1, 50)
RATIO_BAR = 0.25
READY_SECONDS_MAX = 30.0
CREATE = json.dumps({"query": "mutation { createSession(input: {}) { session { id } errors { message } } }"}).encode()


class Databases:
    """New databases of one kind, for as long as the benchmark runs."""

    def __init__(self, kind: str, directory: Path, postgres_url: str | None) -> None:
        self.kind = kind
        self._directory = directory
        self._postgres_url = postgres_url
        self._count = 0

    async def new(self) -> str:
        """The URL of one without tables."""
        self._count += 1
        name = f"bench_{self._count}"
        if self._postgres_url is None:
            return sqlite_url(self._directory / f"{name}.sqlite3")
        engine = create_async_engine(self._postgres_url, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name}"))
        await engine.dispose()
        return make_url(self._postgres_url).set(database=name).render_as_string(hide_password=False)


async def main(seconds: float, rounds: int) -> None:
    """Measure, and print the table."""
    print(machine_line(LAST_CORE))
    with tempfile.TemporaryDirectory(prefix="sm-sessions-") as made, ExitStack() as cleanups:
        with on_core(FIRST_CORE):
            postgres_url = cleanups.enter_context(own_postgres_process())
        kinds = [Databases("SQLite", Path(made), None), Databases("PostgreSQL", Path(made), postgres_url)]
        rates: dict[str, dict[str, list[float]]] = {kind.kind: {} for kind in kinds}
        for _ in range(rounds):
            for kind in kinds:
                for name, rate in (await measure(kind, Path(made), seconds)).items():
                    rates[kind.kind].setdefault(name, []).append(rate)
    rows, verdicts = [], []
    for kind_name, found in rates.items():
        bare = statistics.median(found["bare loop"])
        for name, each in found.items():
            rate = statistics.median(each)
            rows.append([kind_name, name, f"{rate:,.0f}", f"{min(each):,.0f} – {max(each):,.0f}", f"{rate / bare:.2f}"])
            if kind_name == "SQLite" and name.startswith("operations"):
                bar = f"{name}, SQLite: ≥ {RATIO_BAR:g} × the bare loop"
                verdicts.append(Verdict(bar, rate >= RATIO_BAR * bare, f"{rate / bare:.2f}"))
    print_table(["database", "durable creates", "a second", "lowest – highest", "of the bare loop"], rows)
    print_verdicts(verdicts)


async def measure(databases: Databases, directory: Path, seconds: float) -> dict[str, float]:
    """Creates a second of everything, once."""
    rates: dict[str, float] = {}
    with on_core(LAST_CORE):
        creates = await recorded_creates(await databases.new(), round(1_500 * seconds))
        url = await databases.new()
        await (await open_database(url)).close()
        if databases.kind == "SQLite":
            rates["bare loop"] = sqlite_rate(make_url(url).database or "", creates)
        else:
            rates["bare loop"] = await postgres_rate(url, creates)
        for callers in CALLERS:
            rates[f"operations, callers: {callers}"] = await operations_rate(await databases.new(), callers, seconds)
    for callers in CALLERS:
        url = await databases.new()
        rates[f"GraphQL over HTTP, clients: {callers}"] = await http_rate(url, directory, callers, seconds)
    return rates


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[SessionMaking]:
    """The operations on a database, with the main session made."""
    database = await open_database(url)
    sessions = Sessions(SqlSessionStore(database), lambda: datetime.now(UTC), lambda: None)
    await sessions.main(CALLER)
    names = SessionNames(sessions.store, SqlSessionDirectory(database), sessions.clock)
    keys = Idempotency(SqlIdempotencyKeys(database), sessions.clock, timedelta(hours=24))
    yield SessionMaking(sessions, names, keys)
    await database.close()


async def recorded_creates(url: str, count: int) -> list[list[Statement]]:
    """The statements of so many creates."""
    creates = []
    async with opened(url) as making:
        for _ in range(count):
            with recorded() as statements:
                await making.create(CALLER, NewSession())
            creates.append(statements)
    return creates


async def operations_rate(url: str, callers: int, seconds: float) -> float:
    """Creates a second of so many callers at once, each of which goes on when its create is durable."""
    async with opened(url) as making:
        began = time.perf_counter()

        async def call() -> int:
            count = 0
            while time.perf_counter() < began + seconds:
                await making.create(CALLER, NewSession())
                count += 1
            return count

        counts = await asyncio.gather(*(call() for _ in range(callers)))
        return sum(counts) / (time.perf_counter() - began)


async def http_rate(url: str, directory: Path, clients: int, seconds: float) -> float:
    """Creates a second of a server, from so many connections at once."""
    port = free_port()
    command = [sys.executable, "-m", "subgraph", "serve", "--port", str(port), "--database-url", url]
    command += ["--data-dir", str(directory / f"server-{port}")]
    with server(command, core=LAST_CORE, log=directory / "server.log", env={}), on_core(FIRST_CORE):
        await asyncio.to_thread(until_ready, port)
        run = await run_load(port, [CREATE] * clients, clients=clients, seconds=seconds)
    engine = create_async_engine(url.replace("sqlite:", "sqlite+aiosqlite:"))
    async with engine.connect() as connection:
        kept = await connection.scalar(text("SELECT count(*) FROM session WHERE NOT is_main"))
    await engine.dispose()
    if kept != run.requests:
        raise SystemExit(f"{run.requests} creates were answered, and {kept} are there")
    return run.requests / run.elapsed_seconds


def until_ready(port: int) -> None:
    """Wait until the server serves."""
    give_up_at = time.monotonic() + READY_SECONDS_MAX
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
                return
        except OSError as error:
            if time.monotonic() > give_up_at:
                raise SystemExit(f"the server is not ready: {error}") from error
        time.sleep(0.1)


@contextmanager
def own_postgres_process() -> Iterator[str]:
    """The URL of a PostgreSQL that is durable, and is ended on leaving."""
    command = [sys.executable, "-m", "tests.support.own_postgres"]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        if not (url := process.stdout.readline().strip()):
            raise SystemExit("PostgreSQL did not start")
        yield url
    finally:
        process.communicate()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.seconds, arguments.rounds))
