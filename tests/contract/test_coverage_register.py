"""The coverage register on every database: what is registered is read back, and for as long as its session lives."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import h3.api.basic_int as h3
import pytest
from sqlalchemy import delete, func, select

from subgraph.adapters.sql.coverage_register import SMALL_CELLS, SMALL_ROWS_MAX, SqlCoverageRegister
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION, SESSION_EVENT
from subgraph.domain import sessions
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.errors import IllegalState, NameTaken, NotFound
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import SessionId, TenantId, tile_id
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.registration import RegisteredCells, RegisteredCoverage, TileTemplate
from subgraph.domain.sessions import Session
from subgraph.operations.coverage.coverage_ports import CoverageChanged
from tests.support.fleets import CELLS

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PLAIN, HEAVY = TileTemplate(), TileTemplate(capacity=2.5, required={"gpu": "yes", "a": "b"})


@pytest.fixture
def store(database: Database) -> SqlSessionStore:
    return SqlSessionStore(database)


@pytest.fixture
def register(database: Database) -> SqlCoverageRegister:
    return SqlCoverageRegister(database, "fleet")


async def new_session(store: SqlSessionStore, tenant: str = "tenant", **required: str) -> Session:
    change = sessions.create(NewSession(required_labels=required), TenantId(tenant), "ann", NOW)
    await store.commit(change)
    return change.created[0]


def alike(cells: Sequence[int], template: TileTemplate = PLAIN) -> RegisteredCells:
    return RegisteredCells(cell_array(cells), template)


async def add(register: SqlCoverageRegister, session: Session, *added: RegisteredCells) -> None:
    for cells in added:
        await register.add(session.id, cells, (await register.of_session(session.id)).revision)


async def rows(database: Database) -> int:
    async with database.reading() as connection:
        return int(await connection.scalar(select(func.count()).select_from(REGISTERED_CELLS)) or 0)


async def test_of_a_session_that_never_registered_nothing_is_known(
    store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    session = await new_session(store)
    coverage = await register.of_session(session.id)
    assert (coverage.revision, coverage.cells.tolist()) == (0, [])
    assert await register.active_sessions() == []
    standing = (await register.standing([session.id]))[session.id]
    assert standing is not None
    assert standing.coverage == RegisteredCoverage()
    assert await register.standing([SessionId("unknown")]) == {}


async def test_a_session_begins_with_its_coverage_or_not_at_all(
    database: Database, store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    parts = [alike(CELLS[:3]), alike(CELLS[3:150], HEAVY), alike([])]
    change = sessions.create(NewSession(display_name="one"), TenantId("tenant"), "ann", NOW)
    (session,) = change.created
    await store.commit(replace(change, coverage=register.new(parts)))
    assert await register.active_sessions() == [session.id]
    kept = (await register.of_session(session.id)).parts
    assert [(part.cells.tolist(), part.template) for part in kept] == [(CELLS[:3], PLAIN), (CELLS[3:150], HEAVY)]
    assert (await SqlCoverageRegister(database, "other fleet").of_session(session.id)).parts == ()
    entries = await SqlJournal(database).entries_after(0, 10)
    told = [(entry.sequence, entry.event.type, entry.event.actor) for entry in entries]
    registered = SessionEventType.TILES_REGISTERED
    assert told == [(1, SessionEventType.SESSION_STARTED, "ann"), (2, registered, "ann"), (3, registered, "ann")]
    assert [(entry.event.payload or {}).get("count") for entry in entries[1:]] == [3, 147]
    # What comes later goes on behind it.
    await add(register, session, alike(CELLS[150:151]))
    assert (await SqlJournal(database).entries_after(0, 10))[-1].sequence == 4
    same_name = sessions.create(NewSession(display_name="one"), TenantId("tenant"), "ann", NOW)
    with pytest.raises(NameTaken):
        await store.commit(replace(same_name, coverage=register.new(parts)))
    assert await rows(database) == 3


async def test_what_is_registered_is_read_back_with_what_its_tiles_begin_as(
    store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    session, other = await new_session(store), await new_session(store, "other tenant", zone="a")
    await add(register, session, alike(CELLS[:3]), alike(CELLS[3:5], HEAVY))
    await add(register, other, alike(CELLS[:1]))
    coverage = await register.of_session(session.id)
    templates = dict.fromkeys(CELLS[:3], PLAIN) | dict.fromkeys(CELLS[3:5], HEAVY)
    assert dict(coverage.templates(cell_array(CELLS))) == templates
    assert sorted(await register.active_sessions()) == sorted([session.id, other.id])
    active = [one for one in (await register.standing([session.id, other.id])).values() if one]
    active.sort(key=lambda one: one.tenant_id == "other tenant")
    facts = [(one.tenant_id, one.requirement) for one in active]
    nothing, zone = SessionRequirement(1, {}), SessionRequirement(1, {"zone": "a"})
    assert facts == [("tenant", nothing), ("other tenant", zone)]
    assert active[0].coverage.cells.tolist() == CELLS[:5]


async def test_every_registration_makes_another_revision_and_an_older_one_registers_nothing(
    store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    session = await new_session(store)
    await register.add(session.id, alike(CELLS[:1]), 0)
    revision = (await register.of_session(session.id)).revision
    for stale in (0, revision - 1, revision + 1):
        with pytest.raises(CoverageChanged):
            await register.add(session.id, alike(CELLS[1:2]), stale)
    await register.add(session.id, alike(CELLS[1:2]), revision)
    coverage = await register.of_session(session.id)
    assert coverage.revision != revision
    assert coverage.cells.tolist() == CELLS[:2]


async def test_of_registrations_that_saw_the_same_coverage_one_is_taken(
    store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    session = await new_session(store)
    outcomes = await asyncio.gather(
        *(register.add(session.id, alike([cell]), 0) for cell in CELLS[:8]), return_exceptions=True
    )
    assert sorted(map(type, outcomes), key=str) == sorted([int] + [CoverageChanged] * 7, key=str)
    assert (await register.of_session(session.id)).cells.size == 1


async def test_a_session_grown_cell_by_cell_does_not_pile_up_rows(
    store: SqlSessionStore, register: SqlCoverageRegister, database: Database
) -> None:
    session = await new_session(store)
    for number, cell in enumerate(CELLS[: 3 * SMALL_ROWS_MAX]):
        await add(register, session, alike([cell], HEAVY if number % 2 else PLAIN))
    assert await rows(database) <= 2 * SMALL_ROWS_MAX
    coverage = await register.of_session(session.id)
    assert sorted(coverage.cells.tolist()) == CELLS[: 3 * SMALL_ROWS_MAX]
    templates = dict(coverage.templates(cell_array(CELLS)))
    assert [templates[cell] for cell in CELLS[:4]] == [PLAIN, HEAVY, PLAIN, HEAVY]


async def test_large_registrations_stay_as_they_are(
    store: SqlSessionStore, register: SqlCoverageRegister, database: Database
) -> None:
    session = await new_session(store)
    await add(register, session, alike(CELLS[:SMALL_CELLS]), *(alike([cell]) for cell in CELLS[SMALL_CELLS:][:70]))
    async with database.reading() as connection:
        counts = await connection.scalars(select(REGISTERED_CELLS.c.cell_count))
        assert SMALL_CELLS in list(counts)


async def test_of_a_session_that_has_ended_nothing_is_active_or_kept(
    store: SqlSessionStore, register: SqlCoverageRegister, database: Database
) -> None:
    ended, living = await new_session(store), await new_session(store)
    for session in (ended, living):
        await add(register, session, alike(CELLS[:2]))
    await store.commit(sessions.end(ended, actor="ann", now=NOW))
    assert await register.active_sessions() == [living.id]
    standing = await register.standing([ended.id, living.id])
    assert [standing[one.id] is None for one in (ended, living)] == [True, False]
    assert await rows(database) == 1


async def test_of_a_session_that_has_stopped_or_is_gone_nothing_is_registered(
    store: SqlSessionStore, register: SqlCoverageRegister, database: Database
) -> None:
    # Their callers read them while they were ACTIVE.
    ended, deleted = await new_session(store), await new_session(store)
    await store.commit(sessions.end(ended, actor="ann", now=NOW))
    await store.commit(sessions.delete(deleted, actor="ann", now=NOW))
    for session_id, refusal in (
        (ended.id, IllegalState),
        (deleted.id, NotFound),
        (SessionId("unknown"), NotFound),
    ):
        with pytest.raises(refusal):
            await register.add(session_id, alike(CELLS[:1]), 0)
    assert await rows(database) == 0


async def test_what_is_registered_goes_with_a_purged_session(
    store: SqlSessionStore, register: SqlCoverageRegister, database: Database
) -> None:
    session = await new_session(store)
    await add(register, session, alike(CELLS[:2]))
    async with database.writing() as connection:
        await connection.execute(delete(SESSION_EVENT))
        await connection.execute(delete(SESSION))
    assert await rows(database) == 0


async def test_fleets_on_one_database_register_apart(
    store: SqlSessionStore, register: SqlCoverageRegister, database: Database
) -> None:
    session, other = await new_session(store), SqlCoverageRegister(database, "other fleet")
    await add(register, session, alike(CELLS[:2]))
    assert (await other.of_session(session.id)).revision == 0
    assert await other.active_sessions() == []
    await add(other, session, alike(CELLS[:1]))
    assert (await register.of_session(session.id)).cells.tolist() == CELLS[:2]


async def test_what_is_registered_is_told_in_the_journal_by_whoever_did_and_only_if_it_was(
    database: Database, store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    session = await new_session(store)
    await register.add(session.id, alike(CELLS[:2]), 0, "eve")
    with pytest.raises(CoverageChanged):
        await register.add(session.id, alike(CELLS[2:3]), 0, "bob")
    told = [entry.event for entry in await SqlJournal(database).entries_after(0, 10)][1:]
    payload = {"count": 2, "tiles": [{"tileId": tile_id(session.id, cell)} for cell in CELLS[:2]]}
    assert [(one.type, one.actor, one.payload) for one in told] == [(SessionEventType.TILES_REGISTERED, "eve", payload)]


async def test_what_is_taken_out_is_gone_with_its_row_or_leaves_the_rest_of_it(
    database: Database, store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    session = await new_session(store)
    await add(register, session, alike(CELLS[:3]), alike(CELLS[3:4], HEAVY), alike(CELLS[4:5]))
    children = sorted(h3.cell_to_children(CELLS[3]))
    before = await register.revision(session.id)
    gone = [CELLS[0], children[2], CELLS[4], CELLS[9]]
    after = await register.remove(session.id, cell_array(gone), before, "eve")
    coverage = await register.of_session(session.id)
    assert after == coverage.revision == await register.revision(session.id) != before
    left = dict.fromkeys(CELLS[1:3], PLAIN) | dict.fromkeys([*children[:2], *children[3:]], HEAVY)
    assert dict(coverage.templates(coverage.cells)) == left
    assert sorted(coverage.cells.tolist()) == sorted(left)
    told = (await SqlJournal(database).entries_after(0, 10))[-1].event
    payload = {"count": 4, "tiles": [{"tileId": tile_id(session.id, cell)} for cell in gone]}
    assert (told.type, told.actor, told.payload) == (SessionEventType.TILES_UNREGISTERED, "eve", payload)


async def test_whatever_is_taken_out_no_revision_stands_for_two_coverages(
    store: SqlSessionStore, register: SqlCoverageRegister
) -> None:
    session, seen = await new_session(store), {}
    await add(register, session, *(alike([cell]) for cell in CELLS[:4]))
    for cell in (CELLS[3], CELLS[0], CELLS[2]):
        seen[await register.revision(session.id)] = (await register.of_session(session.id)).cells.tolist()
        await register.remove(session.id, cell_array([cell]), max(seen), "eve")
    assert len(seen) == 3
    assert await register.revision(session.id) > max(seen)
    with pytest.raises(CoverageChanged):
        await register.remove(session.id, cell_array([CELLS[1]]), max(seen), "eve")
    assert (await register.of_session(session.id)).cells.tolist() == [CELLS[1]]
    assert await register.remove(session.id, cell_array([CELLS[1]]), await register.revision(session.id), "eve") == 0
    assert (await register.of_session(session.id)).cells.size == 0
