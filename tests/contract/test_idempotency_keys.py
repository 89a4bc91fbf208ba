"""Idempotency keys on every database: what is made with one is made once, by any number of processes, and forgotten."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.errors import NameTaken
from subgraph.domain.idempotency import IdempotencyKey
from subgraph.domain.ids import TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import SessionChange
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_ports import KeyUsed
from tests.support.warm_programs import said_at_once

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("Idempotency keys on every creating mutation")]

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(hours=24)


def key(text: str = "key", fingerprint: str = "asked", now: datetime = NOW) -> IdempotencyKey:
    return IdempotencyKey(TENANT, "ann", "createSession", text, fingerprint, now - DAY)


def created(key: IdempotencyKey, now: datetime = NOW, name: str | None = None) -> SessionChange:
    return replace(sessions.create(NewSession(display_name=name), TENANT, "ann", now), key=key)


async def test_a_second_change_with_the_key_is_refused_with_what_the_first_made(database: Database) -> None:
    store, keys = SqlSessionStore(database), SqlIdempotencyKeys(database)
    assert await keys.use_of(key()) is None
    first = created(key())
    await store.commit(first)
    second = created(key(fingerprint="something else"))
    with pytest.raises(KeyUsed) as refused:
        await store.commit(second)
    assert (refused.value.use.session_id, refused.value.use.fingerprint) == (first.created[0].id, "asked")
    assert await keys.use_of(key()) == refused.value.use
    assert await store.sessions(TENANT, [second.created[0].id]) == {}
    assert len(await SqlJournal(database).unrelayed(10)) == 1


async def test_a_key_is_its_owners_its_operations_and_its_tenants_alone(database: Database) -> None:
    store = SqlSessionStore(database)
    for other in (
        key(),
        replace(key(), owner_id="bob"),
        replace(key(), operation="copySession"),
        replace(key(), tenant_id=TenantId("other")),
        key("KEY"),
        key("key "),
    ):
        await store.commit(created(other))


async def test_a_change_that_is_refused_leaves_its_key_unused(database: Database) -> None:
    store, keys = SqlSessionStore(database), SqlIdempotencyKeys(database)
    await store.commit(created(key("other"), name="taken"))
    with pytest.raises(NameTaken):
        await store.commit(created(key(), name="taken"))
    assert await keys.use_of(key()) is None
    await store.commit(created(key(), name="free"))


async def test_a_key_counts_for_a_day_and_is_swept_afterwards(database: Database) -> None:
    store, keys = SqlSessionStore(database), SqlIdempotencyKeys(database)
    await store.commit(created(key()))
    with pytest.raises(KeyUsed):
        await store.commit(created(key(now=NOW + DAY), NOW + DAY))
    later = NOW + DAY + timedelta(microseconds=1)
    assert await keys.use_of(key(now=later)) is None
    again = created(key(now=later), later)
    await store.commit(again)
    use = await keys.use_of(key(now=later))
    assert use is not None
    assert use.session_id == again.created[0].id


async def test_the_sweep_forgets_the_oldest_in_batches_and_nothing_else(database: Database) -> None:
    store, keys = SqlSessionStore(database), SqlIdempotencyKeys(database)
    for hours in range(5):
        await store.commit(created(key(f"key {hours}"), NOW + timedelta(hours=hours)))
    assert [await keys.forget(NOW + timedelta(hours=3), limit=2) for _ in range(3)] == [2, 1, 0]
    left = [await keys.use_of(key(f"key {hours}")) is not None for hours in range(5)]
    assert left == [False, False, False, True, True]
    assert await Idempotency(keys, lambda: NOW + DAY + timedelta(hours=5)).sweep() == 2


async def test_of_many_changes_at_once_with_one_key_one_is_made(database: Database) -> None:
    store = SqlSessionStore(database)
    changes = [created(key()) for _ in range(20)]
    outcomes = await asyncio.gather(*map(store.commit, changes), return_exceptions=True)
    assert outcomes.count(None) == 1
    made = changes[outcomes.index(None)].created[0].id
    assert {outcome.use.session_id for outcome in outcomes if isinstance(outcome, KeyUsed)} == {made}
    assert sum(isinstance(outcome, KeyUsed) for outcome in outcomes) == 19


RACER = """
import asyncio, json, sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from subgraph.adapters.sql.database import open_database
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.new_session import NewSession
from subgraph.operations.sessions.idempotency import Idempotency

async def main() -> None:
    database = await open_database(sys.argv[1])
    store = SqlSessionStore(database)
    caller = Caller("tenant", "ann", ALL_SCOPES)
    once = Idempotency(SqlIdempotencyKeys(database), lambda: datetime.now(UTC))

    async def make(key):
        wanted = NewSession(display_name="the one of " + key.text)
        change = sessions.create(wanted, "tenant", "ann", datetime.now(UTC))
        await store.commit(replace(change, key=key))
        return change.created[0].id

    print("ready", flush=True)
    sys.stdin.readline()
    made = [await once.once(caller, "createSession", f"key {n}", "asked", make) for n in range(100)]
    print(json.dumps(made))
    await database.close()

asyncio.run(main())
"""


async def test_two_processes_that_race_with_the_same_keys_make_each_session_once(database_url: str) -> None:
    first, second = map(json.loads, await said_at_once(RACER, [database_url], [database_url]))
    assert first == second
    assert len(set(first)) == 100
