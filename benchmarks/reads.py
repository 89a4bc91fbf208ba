"""What it costs to load sessions that others refer to: from SQL, with nothing copied, from Redis, from the process.

    python benchmarks/reads.py [--rounds 41]

Sessions are in a SQLite file, their copies in a Valkey on another core. `load` is what an `_entities` request loads;
`request` is the whole of it in the server's schema, from the query's text to its data, without HTTP. Times
are by the clock, and of this process's processor time, which other work on the machine hardly touches.
"""

import argparse
import asyncio
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_urlsafe
from types import SimpleNamespace
from typing import Any

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.session_blobs import RedisSessionBlobs
from subgraph.adapters.sql.database import open_database, sqlite_url
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.api.context import Context
from subgraph.api.schema import make_schema
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import SessionChange
from subgraph.operations.sessions.session_blobs import Invalidation
from subgraph.operations.sessions.session_cache import SessionCache
from subgraph.operations.sessions.session_reads import SessionReads
from subgraph.operations.sessions.sessions import Sessions

CALLER = Caller(TenantId("tenant"), "owner", ALL_SCOPES)
SESSIONS = 10_000
PER_CHANGE = 500
COUNTS = (1, 100, 1_000)
QUERY = """query($references: [_Any!]!) {
  _entities(representations: $references) { ... on Session { id displayName state revision } }
}"""

Read = Callable[[Sequence[SessionId]], Awaitable[object]]
Taken = tuple[float, float]
"""Seconds by the clock, and of the processor."""


class Process:
    """What of a server reads sessions; with hardly any copies of its own, it reads those in Redis."""

    def __init__(self, store: SqlSessionStore, url: str, copies_max: int) -> None:
        self.redis = connect(url)
        self.bus = RedisEventBus(self.redis)
        self.blobs = RedisSessionBlobs(self.redis, "benchmark")
        self.cache = SessionCache(
            self.blobs, self.bus, self.blobs.channel, copies_max, time.monotonic, lambda: token_urlsafe(12)
        )
        self.sessions = sessions_of(store, SessionReads(store, self.cache))

    async def run(self) -> None:
        """Listen until cancelled."""
        await asyncio.gather(self.bus.run(), self.cache.run())

    async def listens(self) -> None:
        """Wait until its copies are worth something."""
        while True:
            try:
                if (await self.cache.position())[1]:
                    return
            except Unavailable:
                pass
            await asyncio.sleep(0.02)


def sessions_of(store: SqlSessionStore, reads: SessionReads | None) -> Sessions:
    """The operations on sessions, with copies or without."""
    return Sessions(store, lambda: datetime.now(UTC), lambda: None, reads=reads)


async def main(rounds: int) -> None:
    """Measure, and print the table."""
    *others, core = sorted(os.sched_getaffinity(0))
    print(f"{platform.platform()}, on core {core}, Python {platform.python_version()}, medians of {rounds}\n")
    async with AsyncExitStack() as cleanups:
        directory = Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="sm-bench-")))
        valkey = EmbeddedValkey(directory)
        os.sched_setaffinity(0, others or {core})
        await valkey.start()
        cleanups.push_async_callback(valkey.stop)
        os.sched_setaffinity(0, {core})
        database = await open_database(sqlite_url(directory / "sessions.sqlite3"))
        cleanups.push_async_callback(database.close)
        store = SqlSessionStore(database)
        ids = await _made(store)
        few, many = (Process(store, valkey.url, copies_max) for copies_max in (2, 10_000))
        listening = [asyncio.create_task(process.run()) for process in (few, many)]
        try:
            await asyncio.gather(few.listens(), many.listens())
            await _measure(store, few, many, ids, rounds)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.wait(listening)
            for process in (few, many):
                await process.bus.aclose()
                await process.redis.aclose()


async def _measure(store: SqlSessionStore, few: Process, many: Process, ids: Sequence[SessionId], rounds: int) -> None:
    plain, schema = sessions_of(store, None), make_schema()

    def load(operations: Sessions) -> Read:
        return lambda wanted: operations.shown(CALLER, wanted)

    def request(operations: Sessions) -> Read:
        async def asked(wanted: Sequence[SessionId]) -> None:
            services: Any = SimpleNamespace(sessions=operations)
            references = [{"__typename": "Session", "id": one} for one in wanted]
            done = await schema.execute(QUERY, {"references": references}, Context(services, CALLER))
            assert done.errors is None, done.errors
            assert len((done.data or {})["_entities"]) == len(wanted)

        return asked

    print("| | sessions | ms of | SQL | cold | in Redis | in the process |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: |")
    for name, of in (("load", load), ("request", request)):
        for count in COUNTS:
            taken: dict[str, list[Taken]] = {"sql": [], "cold": [], "redis": [], "local": []}
            for _ in range(rounds):
                wanted = random.sample(ids, count)
                await many.blobs.invalidate([Invalidation(CALLER.tenant_id, one) for one in wanted])
                # One after the other in each round: what else the machine does meets all alike.
                taken["sql"].append(await _timed(of(plain), wanted))
                taken["cold"].append(await _timed(of(many.sessions), wanted))
                taken["redis"].append(await _timed(of(few.sessions), wanted))
                taken["local"].append(await _timed(of(many.sessions), wanted))
            for place, what in enumerate(("the clock", "the processor")):
                sql, *copied = (statistics.median(one[place] for one in some) for some in taken.values())
                cells = " | ".join(f"{one * 1_000:.2f} ({one / sql:.2f} ×)" for one in copied)
                print(f"| {name} | {count:,} | {what} | {sql * 1_000:.2f} | {cells} |", flush=True)
    facts = many.cache.facts
    assert facts.bypassed == few.cache.facts.bypassed == 0, "Redis did not answer in time"
    print(f"\n{facts.local_hits:,} sessions read in the process, {few.cache.facts.shared_hits:,} in Redis")


async def _timed(read: Read, wanted: Sequence[SessionId]) -> Taken:
    started, cpu_started = time.perf_counter(), time.process_time()
    await read(wanted)
    return time.perf_counter() - started, time.process_time() - cpu_started


async def _made(store: SqlSessionStore) -> list[SessionId]:
    made: list[SessionId] = []
    for start in range(0, SESSIONS, PER_CHANGE):
        wanted = [
            NewSession(display_name=f"session {n}", details={"team": "red", "place": str(n)}, context={"n": n})
            for n in range(start, start + PER_CHANGE)
        ]
        changes = [sessions.create(one, CALLER.tenant_id, CALLER.owner_id, datetime.now(UTC)) for one in wanted]
        await store.commit(SessionChange(created=tuple(change.created[0] for change in changes)))
        made += [change.created[0].id for change in changes]
    return made


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=41)
    asyncio.run(main(parser.parse_args().rounds))
