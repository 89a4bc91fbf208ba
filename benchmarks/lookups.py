"""Looking sessions up and listing them among 1,000 to 1,000,000, on SQLite and on PostgreSQL.

`session(id)` with a store that has no copies of sessions in front, and page 1 and page 10,000 of `sessions` in every
order, each page of 20. The process that is measured has the last core to itself; PostgreSQL is on the first.

    python benchmarks/lookups.py [--most 1000000] [--rounds 300] [--only SQLite]
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

from looking.seeding import last_cursor_of, seed
from peers.processes import on_core
from placing.figures import Verdict, machine_line, print_table, print_verdicts
from sessions import FIRST_CORE, LAST_CORE, Databases, own_postgres_process

from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.session_list import SessionFilter, SessionOrder, SessionOrderField
from subgraph.domain.session_ref import RefKind, SessionRef
from subgraph.operations.sessions.session_lookup import SessionLookup
from subgraph.operations.sessions.sessions import Sessions

CALLER = Caller(TenantId("tenant"), "bench", ALL_SCOPES)
PAGE, PAGES = 20, 10_000
GROWTH_BAR, PAGE_BAR = 1.3, 1.5
SIZES = (1_000, 10_000, 100_000, 1_000_000)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


async def main(most: int, rounds: int, only: str | None) -> None:
    """Measure, and print the tables of each database as soon as they are there."""
    print(machine_line(LAST_CORE))
    with tempfile.TemporaryDirectory(prefix="sm-lookups-") as made, ExitStack() as cleanups:
        with on_core(FIRST_CORE):
            postgres_url = cleanups.enter_context(own_postgres_process())
        for kind in (Databases("SQLite", Path(made), None), Databases("PostgreSQL", Path(made), postgres_url)):
            if only in (None, kind.kind):
                database = await open_database(await kind.new())
                with on_core(LAST_CORE):
                    await measure(kind.kind, database, [size for size in SIZES if size <= most], rounds)
                await database.close()


async def measure(kind: str, database: Database, sizes: Sequence[int], rounds: int) -> None:
    """Fill a database to one size after the other, and look sessions up in each; list those of the last."""
    lookups: list[list[str]] = []
    pages: list[list[str]] = []
    p50s: dict[int, float] = {}
    for size in sizes:
        await seed(database, CALLER, size, NOW)
        took = await timed_lookups(database, size, rounds)
        p50s[size] = statistics.median(took["session(id)"])
        lookups += [[kind, f"{size:,}", name, *figures(each)] for name, each in took.items()]
    growth = max(p50s.values()) / p50s[sizes[0]]
    bar = f"session(id), {kind}, {sizes[-1]:,} sessions: p50 grows ≤ {GROWTH_BAR:g} ×"
    verdicts = [Verdict(bar, growth <= GROWTH_BAR, f"{growth:.2f}")]
    for order, first, late in await timed_pages(database, sizes[-1], rounds):
        ratio = statistics.median(late) / statistics.median(first)
        for place, each in (("page 1", first), (f"page {page_of(sizes[-1]):,}", late)):
            pages.append([kind, order, place, *figures(each)])
        bar = f"pages by {order}, {kind}: within {PAGE_BAR:g} × of each other"
        verdicts.append(Verdict(bar, 1 / PAGE_BAR <= ratio <= PAGE_BAR, f"{ratio:.2f}"))
    print_table(["database", "sessions", "looked up by", "p50", "p99"], lookups)
    print()
    print_table(["database", "order", "page of 20", "p50", "p99"], pages)
    print_verdicts(verdicts)


def page_of(size: int) -> int:
    """The page that is compared with the first."""
    return min(PAGES, size // PAGE)


async def timed_lookups(database: Database, size: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of looking up random sessions by each of their names."""
    lookup = lookup_on(database)
    chance = random.Random(1)
    references: dict[str, Callable[[int], SessionRef]] = {
        "session(id)": lambda number: SessionRef(SessionId(f"{number:032x}"), (RefKind.ID,)),
        "session(externalId)": lambda number: SessionRef(f"external {number}", (RefKind.EXTERNAL_ID,)),
        "session(displayName)": lambda number: SessionRef(f"name {number:09}", (RefKind.DISPLAY_NAME,)),
    }
    took = {}
    for name, reference in references.items():
        asked = [reference(chance.randrange(size)) for _ in range(rounds)]

        async def look(index: int, asked: Sequence[SessionRef] = asked) -> None:
            assert await lookup.one(CALLER, asked[index]) is not None

        took[name] = await timed(look, rounds)
    return took


async def timed_pages(database: Database, size: int, rounds: int) -> list[tuple[str, list[float], list[float]]]:
    """Seconds of reading the first page and a late one, in every order."""
    lookup, found = lookup_on(database), []
    for field in SessionOrderField:
        order = SessionOrder(field)
        listed = await lookup.listed(CALLER, SessionFilter(), order)
        assert listed is not None
        cursor = await last_cursor_of(database, listed, (page_of(size) - 1) * PAGE)

        async def read(_: int, after: str | None = None, order: SessionOrder = order) -> None:
            listed = await lookup.listed(CALLER, SessionFilter(), order)
            assert len((await lookup.page(listed, PAGE, after)).items) == PAGE

        async def read_late(index: int, cursor: str = cursor) -> None:
            await read(index, cursor)

        # In turns, so that neither has a quieter machine.
        first, late = [], []
        for _ in range(rounds // 50):
            first += await timed(read, 50)
            late += await timed(read_late, 50)
        found.append((field.value, first, late))
    return found


def lookup_on(database: Database) -> SessionLookup:
    """The operations on a database, at a time at which every session lives."""
    sessions = Sessions(SqlSessionStore(database), lambda: NOW + timedelta(hours=1), lambda: None)
    return SessionLookup(sessions, SqlSessionDirectory(database), sessions.clock)


async def timed(act: Callable[[int], Awaitable[None]], rounds: int) -> list[float]:
    """Seconds of each call, after some that are not counted."""
    took = []
    for index in (*range(min(20, rounds)), *range(rounds)):
        began = time.perf_counter()
        await act(index)
        took.append(time.perf_counter() - began)
    return took[-rounds:]


def figures(took: Sequence[float]) -> list[str]:
    """The median and the 99th percentile, as they are shown."""
    ordered = sorted(took)
    return [f"{1_000 * ordered[len(ordered) * percent // 100]:.2f} ms" for percent in (50, 99)]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, default=1_000_000, help="sessions at most")
    parser.add_argument("--rounds", type=int, default=300, help="of each measurement")
    parser.add_argument("--only", choices=("SQLite", "PostgreSQL"), help="the database, if not both")
    arguments = parser.parse_args()
    asyncio.run(main(arguments.most, arguments.rounds, arguments.only))
