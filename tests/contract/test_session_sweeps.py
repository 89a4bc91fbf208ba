"""The sweeps on every database: what is due and nothing else, once by whoever comes first, all of it or nothing."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, select

from subgraph.adapters.sql import session_sweeps
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.session_sweeps import SqlSessionSweeps
from subgraph.adapters.sql.tables import SESSION
from subgraph.domain import sessions
from subgraph.domain.errors import NameTaken, NotFound, RevisionConflict
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import JournalEntry, SessionEvent, SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session, SessionChange, SessionState
from subgraph.operations.sessions.session_ports import SweptBatch

pytestmark = pytest.mark.anyio

TENANT, OTHER_TENANT = TenantId("tenant"), TenantId("other tenant")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
T = SessionEventType
ENTRIES_MAX = 10_000


async def stored(database: Database, change: SessionChange) -> Session:
    await SqlSessionStore(database).commit(change)
    return (*change.created, *change.updated)[0]


def made(name: str, ttl: timedelta = HOUR, tenant_id: TenantId = TENANT, policy: str = "SLIDING") -> SessionChange:
    wanted = NewSession(display_name=name, ttl=ttl, expiry_policy=ExpiryPolicy(policy))
    return sessions.create(wanted, tenant_id, "ann", NOW)


async def read(database: Database, session: Session) -> Session | None:
    return (await SqlSessionStore(database).sessions(session.tenant_id, [session.id])).get(session.id)


async def told(database: Database, *types: SessionEventType) -> list[tuple[str, SessionEventType]]:
    entries = await SqlJournal(database).entries_after(0, ENTRIES_MAX)
    return [(entry.event.session_id, entry.event.type) for entry in entries if entry.event.type in types]


async def entries(database: Database) -> list[JournalEntry]:
    return await SqlJournal(database).entries_after(0, ENTRIES_MAX)


def told_anew(before: Sequence[JournalEntry], after: Sequence[JournalEntry]) -> list[tuple[int, SessionEvent]]:
    """What the journal tells that it did not, with the numbers within their sessions, in the order of those."""
    newest = before[-1].position
    anew = [(entry.sequence, entry.event) for entry in after if entry.position > newest]
    return sorted(anew, key=lambda numbered: numbered[0])


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
async def test_what_is_due_expires_the_longest_due_first_and_is_told_once(database: Database) -> None:
    second = await stored(database, made("second", 2 * HOUR))
    first = await stored(database, made("first", HOUR, OTHER_TENANT, "FIXED"))
    later = await stored(database, made("later", 3 * HOUR))
    sweeps, now = SqlSessionSweeps(database), NOW + HOUR * 2.5
    assert [(await sweeps.expire_due(now, 1)).count for _ in range(3)] == [1, 1, 0]
    assert await told(database, T.SESSION_EXPIRED) == [(first.id, T.SESSION_EXPIRED), (second.id, T.SESSION_EXPIRED)]
    assert await read(database, second) == sessions.expire(second, now).updated[0]
    assert await read(database, later) == later


async def test_what_a_sweep_writes_and_tells_is_what_the_rules_say_of_each(database: Database) -> None:
    wanted = {"of a source": NewSession(data_source="kpi", ttl=HOUR), "of nothing": NewSession(ttl=HOUR)}
    created = [await stored(database, sessions.create(each, TENANT, owner, NOW)) for owner, each in wanted.items()]
    second = await stored(database, sessions.update(created[1], sessions.SessionPatch(version=2), actor="a", now=NOW))
    sweeps, now, later = SqlSessionSweeps(database), NOW + 30 * HOUR, NOW + 60 * HOUR

    before, expired = await entries(database), [sessions.expire(session, now) for session in (created[0], second)]
    swept = await sweeps.expire_due(now, 10)
    assert (swept.count, swept.held_seconds > 0, swept.is_last) == (2, True, True)
    assert [await read(database, session) for session in created] == [change.updated[0] for change in expired]
    assert told_anew(before, await entries(database)) == [(2, expired[0].events[0]), (3, expired[1].events[0])]

    before = await entries(database)
    purged = [sessions.purge(change.updated[0], actor=None, now=later) for change in expired]
    assert (await sweeps.purge_stopped(now, later, 10)).count == 2
    assert told_anew(before, await entries(database)) == [(3, purged[0].events[0]), (4, purged[1].events[0])]


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
async def test_only_active_sessions_with_an_end_expire(database: Database) -> None:
    main = await stored(database, sessions.create_main(TENANT, "ann", NOW))
    ended = await stored(database, made("ended"))
    await stored(database, sessions.end(ended, actor="ann", now=NOW))
    deleted = await stored(database, made("deleted"))
    await stored(database, sessions.delete(deleted, actor="ann", now=NOW))
    nothing = SweptBatch(0, 0.0, 0.0, is_last=True)
    assert await SqlSessionSweeps(database).expire_due(NOW + HOUR * 24 * 365, 10) == nothing
    assert await read(database, main) == main


async def test_a_sweep_of_one_tenant_leaves_the_others_alone(database: Database) -> None:
    own, other = await stored(database, made("own")), await stored(database, made("other", tenant_id=OTHER_TENANT))
    sweeps, now = SqlSessionSweeps(database), NOW + 2 * HOUR
    assert (await sweeps.expire_due(now, 10, TENANT)).count == 1
    assert (await sweeps.purge_stopped(now + HOUR, now + HOUR, 10, OTHER_TENANT)).count == 0
    assert (await sweeps.purge_stopped(now + HOUR, now + HOUR, 10, TENANT)).count == 1
    assert (await read(database, own), await read(database, other)) == (None, other)


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
async def test_retention_removes_what_stopped_before_it_and_the_journal_keeps_its_stop(
    database: Database,
) -> None:
    ended = await stored(database, made("ended"))
    await stored(database, sessions.end(ended, actor="ann", now=NOW))
    deleted = await stored(database, made("deleted"))
    await stored(database, sessions.delete(deleted, actor="ann", now=NOW + HOUR))
    active = await stored(database, made("active"))
    sweeps = SqlSessionSweeps(database)
    assert (await sweeps.purge_stopped(NOW, NOW, 10)).count == 0
    assert (await sweeps.purge_stopped(NOW + HOUR, NOW + 2 * HOUR, 10)).count == 1
    assert (await sweeps.purge_stopped(NOW + 2 * HOUR, NOW + 2 * HOUR, 10)).count == 1
    assert [await read(database, session) for session in (ended, deleted, active)] == [None, None, active]
    assert [one for one in await told(database, *T) if one[0] != active.id] == [
        (ended.id, T.SESSION_ENDED),
        (deleted.id, T.SESSION_EXPIRED),
        (deleted.id, T.SESSION_DELETED),
        (ended.id, T.SESSION_PURGED),
        (deleted.id, T.SESSION_PURGED),
    ]


@pytest.mark.requirement("TTL (default 720 h), per session. Policy SLIDING (default")
async def test_replicas_that_sweep_at_once_expire_each_session_once(
    database: Database, other_database: Database
) -> None:
    made_sessions = [await stored(database, made(f"s{number}")) for number in range(60)]

    async def sweep(of: Database) -> int:
        sweeps, swept = SqlSessionSweeps(of), 0
        while count := (await sweeps.expire_due(NOW + 2 * HOUR, 7)).count:
            swept += count
        return swept

    assert sum(await asyncio.gather(*(sweep(of) for of in (database, other_database) * 3))) == len(made_sessions)
    expired = await told(database, T.SESSION_EXPIRED)
    assert sorted(session_id for session_id, _ in expired) == sorted(session.id for session in made_sessions)


async def test_a_session_that_is_extended_while_sweeps_run_is_expired_or_extended_and_never_lost(
    database: Database, other_database: Database
) -> None:
    now = NOW + HOUR
    made_sessions = [await stored(database, made(f"s{number}")) for number in range(30)]
    store = SqlSessionStore(other_database)

    async def extend(session: Session) -> bool:
        try:
            await store.commit(sessions.extend(session, HOUR, actor="ann", now=NOW + HOUR / 2))
        except RevisionConflict:
            return False
        return True

    sweeps = SqlSessionSweeps(database)
    sweeping = [asyncio.create_task(sweeps.expire_due(now, 5)) for _ in range(6)]
    extended = await asyncio.gather(*map(extend, made_sessions))
    await asyncio.gather(*sweeping)
    for session, was_extended in zip(made_sessions, extended, strict=True):
        found = await read(database, session)
        assert found is not None
        assert found.state is (SessionState.ACTIVE if was_extended else SessionState.EXPIRED)


async def test_a_purge_takes_fewer_sessions_of_which_the_journal_tells_much_and_says_that_more_are_due(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_sweeps, "EVENTS_PER_PURGE_MAX", 4)
    for name in ("a", "b", "c"):
        # Each tells of its start and its end: two of them are within the bound.
        session = await stored(database, made(name))
        await stored(database, sessions.end(session, actor="ann", now=NOW))
    lively = await stored(database, made("lively"))
    for version in range(2, 9):
        lively = await stored(
            database, sessions.update(lively, sessions.SessionPatch(version=version), actor="ann", now=NOW)
        )
    await stored(database, sessions.end(lively, actor="ann", now=NOW + HOUR / 2))
    sweeps, later = SqlSessionSweeps(database), NOW + 2 * HOUR
    batches = [await sweeps.purge_stopped(later, later, 10) for _ in range(4)]
    assert [(batch.count, batch.is_last) for batch in batches] == [(2, False), (1, False), (1, True), (0, True)]
    assert [(await sweeps.expire_due(later, 1)).is_last] == [True]


# ── What is deleted, and main ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.requirement("Delete cascades through scenarios, runs, KPIs, datasets")
async def test_a_purge_removes_the_row_and_leaves_its_own_tale(database: Database) -> None:
    session = await stored(database, made("a"))
    (changed,) = sessions.update(session, sessions.SessionPatch(version=2), actor="ann", now=NOW).updated
    with pytest.raises(RevisionConflict):
        await SqlSessionStore(database).commit(sessions.purge(changed, actor="ann", now=NOW))
    assert await read(database, session) == session
    change = sessions.purge(session, actor="ann", now=NOW)
    await SqlSessionStore(database).commit(change)
    assert await read(database, session) is None
    assert [kind for _, kind in await told(database, T.SESSION_DELETED, T.SESSION_PURGED)] == [
        T.SESSION_DELETED,
        T.SESSION_PURGED,
    ]
    with pytest.raises(NotFound):
        await SqlSessionStore(database).commit(change)


@pytest.mark.requirement("A tenant always has a `main`: made on its first contact")
@pytest.mark.parametrize("decision", [sessions.end, sessions.delete, sessions.purge])
async def test_of_replicas_that_stop_main_at_once_one_does_and_one_main_follows(
    database: Database, other_database: Database, decision: Callable[..., SessionChange]
) -> None:
    main = await stored(database, sessions.create_main(TENANT, "ann", NOW))
    changes = [decision(main, actor=actor, now=NOW + HOUR) for actor in ("bob", "cid")]
    outcomes = await asyncio.gather(
        *(SqlSessionStore(of).commit(change) for of, change in zip((database, other_database), changes, strict=True)),
        return_exceptions=True,
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes if outcome) in (["RevisionConflict"], ["NotFound"])
    async with database.reading() as connection:
        mains = select(func.count()).where(SESSION.c.tenant_id == TENANT, SESSION.c.is_main)
        assert await connection.scalar(mains) == 1
    successor = await SqlSessionStore(database).main_session(TENANT)
    assert successor is not None
    assert (successor.display_name, successor.state) == ("main", SessionState.ACTIVE)


async def test_a_deleted_sessions_names_are_free_and_its_restoration_meets_who_took_them(database: Database) -> None:
    async def create(name: str, external_id: str) -> Session:
        wanted = NewSession(display_name=name, external_id=external_id)
        return await stored(database, sessions.create(wanted, TENANT, "ann", NOW))

    first = await create("a", "mine")
    deleted = await stored(database, sessions.delete(first, actor="ann", now=NOW))
    second = await create("a", "mine")
    for name, path, taken in ((None, ("displayName",), "a"), ("b", ("externalId",), "mine")):
        with pytest.raises(NameTaken) as refused:
            await stored(database, sessions.restore(deleted, actor="ann", now=NOW, display_name=name))
        assert (refused.value.path, refused.value.display_name, refused.value.conflicting_id) == (
            path,
            taken,
            second.id,
        )
    await stored(database, sessions.delete(second, actor="ann", now=NOW))
    restored = await stored(database, sessions.restore(deleted, actor="ann", now=NOW))
    assert await read(database, first) == restored
