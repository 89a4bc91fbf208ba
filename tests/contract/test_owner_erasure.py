"""The erasure of an owner on every database and a real Redis: nothing is left, whoever is killed or races.

What the scans find is proven by traces that were planted for them.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from sqlalchemy import Column, MetaData, String, Table, Text, func, insert, select, update

from subgraph.adapters.data_directory_residues import DataDirectoryResidues
from subgraph.adapters.redis.client_sessions import RedisClientSessions
from subgraph.adapters.redis.keys import fleet_key, session_key
from subgraph.adapters.redis.residues import RedisResidues
from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.owner_records import SqlOwnerRecords
from subgraph.adapters.sql.residues import SqlResidueScan
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import (
    ASSIGNMENT_HISTORY,
    FLEET,
    IDEMPOTENCY_KEY,
    METADATA,
    SESSION,
)
from subgraph.domain import sessions
from subgraph.domain.access import Caller, Scope
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.erasure import ERASED, Traces
from subgraph.domain.errors import NotAllowed, Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.new_session import NewSession
from subgraph.domain.registration import RegisteredCells, TileTemplate
from subgraph.domain.sessions import Session
from subgraph.domain.sessions.copying import copy
from subgraph.operations.sessions.session_ports import unguarded
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.single_flight import SingleFlight
from subgraph.operations.transfer.owner_erasure import Erasure, OwnerErasure
from subgraph.operations.transfer.owner_records import Residues
from tests.support.session_replicas import Truth, replica

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.requirement("A journal that is also the audit log; export, import, erase an owner"),
]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT, OTHER_TENANT = TenantId("tenant"), TenantId("other tenant")
ADMIN = Caller(TENANT, "root", frozenset({Scope.TENANT_WRITE}))
CELL = 0x8428309FFFFFFFF
RELAY_SECONDS = 0.01


@pytest.fixture
async def database(database: Database) -> AsyncIterator[Database]:
    """One whose relay runs."""
    async with relaying(database):
        yield database


@pytest.fixture
async def redis(redis: Redis) -> Redis:
    """One with nothing in it: every erasure looks through all of it, also through what other tests have left."""
    await redis.flushdb()
    return redis


@contextlib.asynccontextmanager
async def relaying(database: Database) -> AsyncIterator[None]:
    """Somebody who carries out what the journal tells."""
    journal = SqlJournal(database)

    async def relay() -> None:
        while True:
            await journal.mark_relayed([entry.position for entry in await journal.unrelayed(1_000)])
            await asyncio.sleep(RELAY_SECONDS)

    task = asyncio.create_task(relay())
    yield
    task.cancel()
    await asyncio.wait([task])


class Killed(Exception):
    """The process is gone."""


class Fused:
    """Passes calls on, and dies before the one that is too many, or after it."""

    def __init__(self, inner: Any, fuse: list[int]) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._inner, name)

        async def fused(*given: Any) -> Any:
            self._step()
            answer = await call(*given)
            self._step()
            return answer

        return fused

    def _step(self) -> None:
        self._fuse[0] -= 1
        if self._fuse[0] < 0:
            raise Killed


def erasure(
    database: Database, redis: Redis, directory: Path, steps: int | None = None, **settings: Any
) -> OwnerErasure:
    """A process that can erase; with `steps`, it dies after so many."""
    store: Any = SqlSessionStore(database)
    records: Any = SqlOwnerRecords(database, settings.get("guard", unguarded))
    live: Any = settings.get("live", RedisResidues(redis))
    if steps is not None:
        fuse = [steps]
        store, records, live = Fused(store, fuse), Fused(records, fuse), Fused(live, fuse)
    return OwnerErasure(
        Sessions(store, lambda: NOW, lambda: None),
        records,
        live,
        (SqlResidueScan(database), DataDirectoryResidues(directory)),
        settings.get("holds_tiles", lambda _: False),
        time.monotonic,
        SingleFlight("an erasure", time.monotonic),
        settings.get("wait_seconds_max", 20.0),
        settings.get("sessions_per_call_max", 100),
        RELAY_SECONDS,
    )


async def new_session(
    database: Database, owner_id: str, tenant_id: TenantId = TENANT, *associates: Session, **wanted: Any
) -> Session:
    members = {one.id: one for one in associates}
    change = sessions.create(
        NewSession(associate_ids=tuple(members), **wanted), tenant_id, owner_id, NOW, members=members
    )
    await SqlSessionStore(database).commit(change)
    return change.created[0]


async def told_of_erasures(database: Database, tenant_id: TenantId = TENANT) -> list[tuple[str | None, Any]]:
    """Who erased somebody, and the facts, as the tenant's main session tells it."""
    main = await SqlSessionStore(database).main_session(tenant_id)
    return [
        (entry.event.actor, entry.event.payload)
        for entry in await SqlJournal(database).entries_after(0, 10_000)
        if entry.event.type is SessionEventType.OWNER_ERASED and main is not None and entry.event.session_id == main.id
    ]


async def full_world(database: Database, redis: Redis, owner_id: str, tenant_id: TenantId = TENANT) -> list[Session]:
    """Two sessions of an owner, with something in every store there is."""
    fleet_id = f"fleet-{uuid4().hex}"
    first = await new_session(database, owner_id, tenant_id, metadata={"n": 1})
    second = await new_session(database, owner_id, tenant_id, first)
    await SqlCoverageRegister(database, fleet_id).add(first.id, RegisteredCells(cell_array([CELL]), TileTemplate()), 0)
    term = {
        "fleet_id": fleet_id, "version": 1, "tenant_id": tenant_id, "session_id": first.id, "cell": CELL, "pod_id": "p",
        "reason": "INITIAL", "state": "RELEASED", "pinned": False, "load": 1.0, "assigned_at_ms": 1,
    }  # fmt: skip
    key = {
        "tenant_id": tenant_id, "owner_id": owner_id, "operation": "createSession", "key": fleet_id, "fingerprint": "f",
        "session_id": first.id, "created_at": NOW,
    }  # fmt: skip
    async with database.writing() as connection:
        await connection.execute(insert(FLEET).values(id=fleet_id, incarnation=1))
        for epoch in (1, 2):
            await connection.execute(insert(ASSIGNMENT_HISTORY).values(epoch=epoch, **term))
        await connection.execute(insert(IDEMPOTENCY_KEY).values(**key))
    await redis.set(session_key(fleet_id, tenant_id, first.id, "a former run"), b"B1|layout|copy", px=60_000)
    await RedisClientSessions(redis, timedelta(minutes=1)).claim(tenant_id, "a chat", owner_id)
    await redis.xadd(fleet_key(fleet_id, "loads"), {"sessions": f"1 {first.id}", "cells": b"\x00" * 8})
    return [first, second]


async def counts(database: Database) -> dict[str, int]:
    async with database.reading() as connection:
        return {
            table.name: await connection.scalar(select(func.count()).select_from(table)) or 0
            for table in METADATA.sorted_tables
        }


async def test_nothing_is_left_of_an_owner_in_any_store(database: Database, redis: Redis, tmp_path: Path) -> None:
    owned = await full_world(database, redis, "ann")
    process = erasure(database, redis, tmp_path / "data")
    ids = [session.id for session in owned]
    assert await process.erase(ADMIN, "ann", dry_run=False) == Erasure(2, 0)
    # What is there is the tenant's main session, which was made to tell of it: its start, and that it happened.
    expected = {"fleet": 1, "session": 1, "session_event": 2}
    assert await counts(database) == dict.fromkeys(await counts(database), 0) | expected
    traces = Traces("ann", ids)
    for scan in (SqlResidueScan(database), RedisResidues(redis)):
        assert dict(await scan.residues(TENANT, traces)) == {}


async def test_a_dry_run_counts_and_changes_nothing(database: Database, redis: Redis, tmp_path: Path) -> None:
    await full_world(database, redis, "ann")
    before = await counts(database)
    told = await erasure(database, redis, tmp_path / "data").erase(ADMIN, "ann", dry_run=True)
    # Sessions, their starts and the association as both are told of it, terms, the association, the key, cells; in
    # Redis a copy, a claim and a report.
    assert told == Erasure(2, 2 + 5 + 2 + 1 + 1 + 1 + 1 + 1 + 1)
    assert await counts(database) == before


async def test_an_owner_of_the_same_id_in_another_tenant_keeps_everything(
    database: Database, redis: Redis, tmp_path: Path
) -> None:
    kept = await full_world(database, redis, "ann", OTHER_TENANT)
    before = await counts(database)
    await full_world(database, redis, "ann")
    assert await erasure(database, redis, tmp_path / "data").erase(ADMIN, "ann", dry_run=False) == Erasure(2, 0)
    # And of the one that erased, the main session.
    added = {"fleet": 1, "session": 1, "session_event": 2}
    assert await counts(database) == {name: count + added.get(name, 0) for name, count in before.items()}
    assert await told_of_erasures(database, OTHER_TENANT) == []
    of_others = await RedisResidues(redis).residues(OTHER_TENANT, Traces("ann", [session.id for session in kept]))
    assert of_others == {"redis string": 1, "redis hash": 1, "redis stream": 1}


@pytest.mark.parametrize("place", ["a column", "a table to come", "redis", "a file"])
async def test_a_trace_that_was_planted_is_found(database: Database, redis: Redis, tmp_path: Path, place: str) -> None:
    (gone, *_), data = await full_world(database, redis, "ann"), tmp_path / "data"
    bystander = await new_session(database, "bob")
    process = erasure(database, redis, data, wait_seconds_max=0.5)
    key = f"session-manager:planted:{uuid4().hex}"
    if place == "a column":
        planted = update(SESSION).where(SESSION.c.id == bystander.id).values(context_json=f'{{"seen":"{gone.id}"}}')
        async with database.writing() as connection:
            await connection.execute(planted)
    elif place == "a table to come":
        metadata = MetaData()
        table = Table(
            "note", metadata, Column("id", String, primary_key=True), Column("tenant_id", String), Column("text", Text)
        )
        async with database.writing() as connection:
            await connection.run_sync(metadata.create_all)
            for row_id, tenant in (("1", TENANT), ("2", OTHER_TENANT)):
                await connection.execute(insert(table).values(id=row_id, tenant_id=tenant, text='{"by":"ann"}'))
        process = OwnerErasure(
            process.sessions, process.records, process.live, (SqlResidueScan(database, metadata),), *_rest(process)
        )
    elif place == "redis":
        await redis.hset(key, "field", f"about {gone.id}")
    else:
        (data / "valkey").mkdir(parents=True)
        (data / "valkey" / "valkey.log").write_text(f"something about {gone.id}:{CELL:x}\n")
    told = await process.erase(ADMIN, "ann", dry_run=False)
    await redis.delete(key)
    assert told.sessions == 2
    # While Redis holds on to something, the journal still says what is to be looked for.
    kept = 0 if place != "redis" else 4
    assert told.residues >= 1
    assert told.residues - kept >= 1 if kept else told.residues == 1


def _rest(process: OwnerErasure) -> tuple[Any, ...]:
    return process.holds_tiles, process.monotonic, process.turn, process.wait_seconds_max


async def test_what_the_journal_tells_of_others_stays_and_names_the_owner_no_more(
    database: Database, redis: Redis, tmp_path: Path
) -> None:
    gone, bystander = await new_session(database, "ann"), await new_session(database, "bob")
    payload = {"associateIds": [gone.id, bystander.id]}
    event = event_of(bystander, SessionEventType.SESSION_ASSOCIATED, "ann", NOW, payload=payload)
    titled = event_of(
        bystander, SessionEventType.SESSION_TITLED, "bob", NOW, payload={"title": "ann", "source": "USER"}
    )
    await SqlJournal(database).append([event, titled])
    assert await erasure(database, redis, tmp_path / "data").erase(ADMIN, "ann", dry_run=False) == Erasure(1, 0)
    entries = await SqlJournal(database).entries_after(0, 100)
    (told,) = [entry.event for entry in entries if entry.event.type is SessionEventType.SESSION_ASSOCIATED]
    assert (told.actor, told.payload) == (ERASED, {"associateIds": [ERASED, bystander.id]})
    (told,) = [entry.event for entry in entries if entry.event.type is SessionEventType.SESSION_TITLED]
    assert (told.actor, told.payload) == ("bob", {"title": ERASED, "source": "USER"})
    assert gone.id not in {entry.event.session_id for entry in entries}


@pytest.mark.parametrize("owner_id", ["ACTIVE", "formerState", "details", "to", "createSession", "SESSION_DELETED"])
async def test_an_owner_who_is_called_like_a_word_of_the_journals_takes_none_of_it_along(
    database: Database, redis: Redis, tmp_path: Path, owner_id: str
) -> None:
    await redis.flushdb()
    bystander, store, journal = await new_session(database, "bob"), SqlSessionStore(database), SqlJournal(database)
    patch = sessions.SessionPatch(details={"k": "v"})
    for decide in (
        lambda it: sessions.update(it, patch, actor="bob", now=NOW),
        lambda it: sessions.rename(it, "y", actor="bob", now=NOW),
        lambda it: sessions.delete(it, actor="bob", now=NOW),
        lambda it: sessions.restore(it, actor="bob", now=NOW),
    ):
        await store.change(TENANT, bystander.id, decide)
    gone = await new_session(database, owner_id)
    told = [entry for entry in await journal.entries_after(0, 100) if entry.event.session_id == bystander.id]
    assert await erasure(database, redis, tmp_path / "data").erase(ADMIN, owner_id, dry_run=False) == Erasure(1, 0)
    left = [entry for entry in await journal.entries_after(0, 100) if entry.event.session_id == bystander.id]
    assert left == told
    assert await store.sessions(TENANT, [gone.id]) == {}


@pytest.mark.parametrize(("asks", "actor"), [("root", "root"), ("ann", ERASED)])
async def test_an_erasure_is_told_of_by_the_main_session_and_names_nobody_who_is_gone(
    database: Database, redis: Redis, tmp_path: Path, asks: str, actor: str
) -> None:
    # The main session is hers, too: what its successor tells outlives it.
    await SqlSessionStore(database).commit(sessions.create_main(TENANT, "ann", NOW))
    await new_session(database, "ann")
    process = erasure(database, redis, tmp_path / "data")
    caller = Caller(TENANT, asks, frozenset({Scope.TENANT_WRITE}))
    await process.erase(caller, "ann", dry_run=True)
    assert await told_of_erasures(database) == []
    assert await process.erase(caller, "ann", dry_run=False) == Erasure(2, 0)
    assert await told_of_erasures(database) == [(actor, {"sessions": 2})]


async def test_an_erasure_that_is_killed_before_it_forgets_the_journal_was_told_of(
    database: Database, redis: Redis, tmp_path: Path
) -> None:
    session = await new_session(database, "ann")
    process = erasure(database, redis, tmp_path / "data", wait_seconds_max=0.1, holds_tiles=lambda _: True)
    assert (await process.erase(ADMIN, "ann", dry_run=False)).residues > 0
    assert await told_of_erasures(database) == [("root", {"sessions": 1})]
    entries = await SqlJournal(database).entries_after(0, 100)
    assert session.id in {entry.event.session_id for entry in entries}


@pytest.mark.parametrize(("asks", "heir"), [("root", "root"), ("ann", ERASED)])
async def test_a_tenant_whose_main_is_erased_has_another_at_once(
    database: Database, redis: Redis, tmp_path: Path, asks: str, heir: str
) -> None:
    store = SqlSessionStore(database)
    main = sessions.create_main(TENANT, "ann", NOW)
    await store.commit(main)
    caller = Caller(TENANT, asks, frozenset({Scope.ADMIN}))
    assert await erasure(database, redis, tmp_path / "data").erase(caller, "ann", dry_run=False) == Erasure(1, 0)
    successor = await store.main_session(TENANT)
    assert successor is not None
    assert successor.id != main.created[0].id
    assert (successor.owner_id, successor.display_name) == (heir, "main")


async def test_an_erasure_that_is_killed_anywhere_is_finished_by_the_next(
    database: Database, database_url: str, redis: Redis, tmp_path: Path
) -> None:
    # What happens between two steps is the same on both; only that each holds on to what was done is the database's.
    stride = 1 if database_url.startswith("sqlite") else 3
    steps, is_over = 0, False
    while not is_over:
        owned = await full_world(database, redis, "ann")
        before = erasure(database, redis, tmp_path / "data", steps)
        with contextlib.suppress(Killed):
            is_over = await before.erase(ADMIN, "ann", dry_run=False) == Erasure(2, 0)
        assert (await erasure(database, redis, tmp_path / "data").erase(ADMIN, "ann", dry_run=False)).residues == 0
        traces = Traces("ann", [session.id for session in owned])
        for scan in (SqlResidueScan(database), RedisResidues(redis)):
            assert dict(await scan.residues(TENANT, traces)) == {}, f"killed at step {steps}"
        steps += stride
    assert steps > 12


async def test_two_erasures_at_once_are_harmless(
    database: Database, database_url: str, redis: Redis, tmp_path: Path
) -> None:
    for _ in range(150):
        await new_session(database, "ann")
    replica = await open_database(database_url)
    done = await asyncio.gather(
        *(erasure(one, redis, tmp_path / "data").erase(ADMIN, "ann", dry_run=False) for one in (database, replica))
    )
    await replica.close()
    assert sum(one.sessions for one in done) == 150
    assert (await erasure(database, redis, tmp_path / "data").erase(ADMIN, "ann", dry_run=False)) == Erasure(0, 0)
    # The main session, its start, and the three erasures it tells of.
    left = dict.fromkeys(await counts(database), 0) | {"session": 1, "session_event": 4}
    assert await counts(database) == left


async def test_of_more_sessions_than_a_call_forgets_the_rest_stays_known_until_every_store_has_forgotten_it(
    database: Database, redis: Redis, tmp_path: Path
) -> None:
    owned = [session for _ in range(3) for session in await full_world(database, redis, "ann")]
    # They were purged before, each by itself: only the journal knows that they were ann's.
    for session in owned:
        await SqlSessionStore(database).commit(sessions.purge(session, actor=None, now=NOW))
    copy = await new_session(database, "bob")
    async with database.writing() as connection:
        await connection.execute(update(SESSION).where(SESSION.c.id == copy.id).values(copied_from=owned[0].id))
    process = erasure(database, redis, tmp_path / "data", sessions_per_call_max=2)
    is_left = [(await process.erase(ADMIN, "ann", dry_run=False)).residues > 0 for _ in range(3)]
    assert is_left == [True, True, False]
    traces = Traces("ann", [session.id for session in owned])
    for scan in (SqlResidueScan(database), RedisResidues(redis)):
        assert dict(await scan.residues(TENANT, traces)) == {}


async def test_a_copy_that_is_made_while_its_original_is_erased_tells_of_it_nowhere(
    database: Database, redis: Redis, tmp_path: Path, valkey_url: str, fleet_id: str
) -> None:
    store = SqlSessionStore(database)
    original = await new_session(database, "ann")
    copied = copy(original, "a copy", frozenset(), TENANT, "bob", NOW)
    await store.commit(copied)
    (its_copy,) = copied.created
    async with replica(valkey_url, fleet_id, cast(Truth, store)) as reader:

        class ReadMeanwhile(RedisResidues):
            async def forget(self, tenant_id: TenantId, traces: Traces) -> Residues:
                found = await super().forget(tenant_id, traces)
                assert await reader.read(its_copy) == its_copy
                return found

        process = erasure(database, redis, tmp_path / "data", live=ReadMeanwhile(redis), guard=reader.cache.changing)
        assert await process.erase(ADMIN, "ann", dry_run=False) == Erasure(1, 0)
        assert dict(await RedisResidues(redis).residues(TENANT, Traces("ann", [original.id]))) == {}
        assert await reader.read(its_copy) == replace(its_copy, copied_from=None)


async def test_while_tiles_are_held_the_journal_stays_and_the_next_call_goes_on(
    database: Database, redis: Redis, tmp_path: Path
) -> None:
    session = await new_session(database, "ann")
    held: list[SessionId] = [session.id]
    process = erasure(
        database, redis, tmp_path / "data", holds_tiles=lambda ids: bool({*held} & {*ids}), wait_seconds_max=0.1
    )
    first = await process.erase(ADMIN, "ann", dry_run=False)
    assert first.sessions == 1
    assert first.residues > 0
    held.clear()
    assert await process.erase(ADMIN, "ann", dry_run=False) == Erasure(0, 0)


async def test_who_may_not_write_in_the_tenant_erases_nobody(database: Database, redis: Redis, tmp_path: Path) -> None:
    session = await new_session(database, "ann")
    for scope in (Scope.SESSION_WRITE, Scope.TENANT_READ, Scope.FLEET_OPERATE):
        with pytest.raises(NotAllowed) as refused:
            await erasure(database, redis, tmp_path / "data").erase(
                Caller(TENANT, "ann", frozenset({scope})), "ann", dry_run=False
            )
        assert refused.value.required_scope == "tenant:write"
    assert await SqlSessionStore(database).sessions(TENANT, [session.id])


async def test_an_erasure_whose_caller_has_gone_goes_on_and_answers_who_asks_again(
    database: Database, redis: Redis, tmp_path: Path
) -> None:
    session = await new_session(database, "ann")
    held: list[SessionId] = [session.id]
    process = erasure(database, redis, tmp_path / "data", holds_tiles=lambda ids: bool({*held} & {*ids}))
    first = asyncio.create_task(process.erase(ADMIN, "ann", dry_run=False))
    await eventually_told(database)
    with pytest.raises(Unavailable, match="under way here for"):
        await process.erase(ADMIN, "bob", dry_run=False)
    with pytest.raises(Unavailable, match="under way"):
        await process.erase(ADMIN, "ann", dry_run=True)
    first.cancel()
    await asyncio.wait([first])
    again = asyncio.create_task(process.erase(ADMIN, "ann", dry_run=False))
    await asyncio.sleep(0)
    held.clear()
    # It is the one that was under way: it tells of the session, and was told of once.
    assert await again == Erasure(1, 0)
    assert await told_of_erasures(database) == [("root", {"sessions": 1})]
    assert await process.erase(ADMIN, "bob", dry_run=False) == Erasure(0, 0)


async def eventually_told(database: Database) -> None:
    """Wait until an erasure has purged what there was."""
    while not await told_of_erasures(database):
        await asyncio.sleep(RELAY_SECONDS)


async def test_this_world_has_something_in_every_table(database: Database, redis: Redis) -> None:
    await full_world(database, redis, "ann")
    assert min((await counts(database)).values()) > 0
