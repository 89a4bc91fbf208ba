"""Exports on every database: one moment, within the tenancy of the caller, and never more than a document may hold."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
import numpy as np
import pytest
from sqlalchemy import insert, update

from subgraph.adapters.sql.coverage_register import SqlCoverageRegister
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_exports import SqlSessionExports
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import SESSION, SESSION_ASSOCIATION
from subgraph.domain import sessions
from subgraph.domain.access import Caller, Scope
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.errors import NotFound, QuotaExceeded
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.new_session import NewSession
from subgraph.domain.registration import RegisteredCells, TileTemplate
from subgraph.domain.session_document import CELLS_MAX, DOCUMENT_BYTES_MAX, EVENTS_MAX, RELATIVES_MAX
from subgraph.domain.session_import import read_document
from subgraph.domain.sessions import Session
from subgraph.domain.sessions.copying import copy
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_making import SessionMaking
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.transfer.session_transfer import SessionTransfer

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("A journal that is also the audit log; export, import, erase")]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT, FLEET = TenantId("tenant"), "fleet"
ANN = Caller(TENANT, "ann", frozenset({Scope.SESSION_WRITE}))
CELL = 0x8428309FFFFFFFF


@pytest.fixture
def transfer(database: Database) -> SessionTransfer:
    """Exports need neither names nor tiles, and what comes in without a coverage only the register of coverages."""
    nothing: Any = None
    there = Sessions(SqlSessionStore(database), lambda: NOW, lambda: None)
    partition = Partition(there, SqlCoverageRegister(database, FLEET), nothing, nothing, nothing, nothing)
    return SessionTransfer(there, SqlSessionExports(database, FLEET), nothing, partition)


async def new_session(
    database: Database, owner: str = "ann", tenant_id: TenantId = TENANT, *associates: Session, **wanted: Any
) -> Session:
    members = {one.id: one for one in associates}
    change = sessions.create(NewSession(associate_ids=tuple(members), **wanted), tenant_id, owner, NOW, members=members)
    await SqlSessionStore(database).commit(change)
    return change.created[0]


async def exported(transfer: SessionTransfer, session_id: SessionId, caller: Caller = ANN) -> Any:
    return await transfer.export(caller, session_id)


async def test_an_export_is_of_one_moment_whatever_is_written_meanwhile(
    database: Database, transfer: SessionTransfer
) -> None:
    session = await new_session(database)

    def renamed(name: str, it: Session) -> sessions.SessionChange:
        return sessions.rename(it, name, actor="ann", now=NOW)

    async def rename_for_ever() -> None:
        count = 0
        while True:
            count += 1
            await transfer.sessions.change(ANN, session.id, partial(renamed, f"name {count}"))

    renaming = asyncio.create_task(rename_for_ever())
    seen: set[int] = set()
    while len(seen) < 5:
        document = await exported(transfer, session.id)
        events = document["events"]
        assert document["session"]["revision"] == len(events)
        if len(events) > 1:
            assert events[-1]["payload"]["to"] == document["session"]["displayName"]
            seen.add(len(events))
        await asyncio.sleep(0.001)
    renaming.cancel()
    await asyncio.wait([renaming])


async def test_an_export_names_only_those_relatives_that_its_caller_may_see(
    database: Database, transfer: SessionTransfer
) -> None:
    anns, bobs = await new_session(database), await new_session(database, "bob")
    parent = await new_session(database, "ann", TENANT, anns, bobs)
    assert (await exported(transfer, parent.id))["hierarchy"] == {"parentIds": [], "associateIds": [anns.id]}
    assert (await exported(transfer, anns.id))["hierarchy"] == {"parentIds": [parent.id], "associateIds": []}
    reader = Caller(TENANT, "root", frozenset({Scope.TENANT_READ}))
    told = await exported(transfer, parent.id, reader)
    assert set(told["hierarchy"]["associateIds"]) == {anns.id, bobs.id}


async def test_an_export_says_nowhere_what_its_caller_may_not_see(
    database: Database, transfer: SessionTransfer
) -> None:
    bobs = await new_session(database, "bob")
    parent = await new_session(database, "ann", TENANT, bobs)
    change = copy(bobs, "copy", set(), TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(change)
    for session in (parent, change.created[0]):
        assert bobs.id not in json.dumps(await exported(transfer, session.id))


async def test_what_comes_in_with_associates_is_told_to_them(database: Database, transfer: SessionTransfer) -> None:
    child = await new_session(database)
    parent = await new_session(database, "ann", TENANT, child)
    document = await exported(transfer, parent.id)
    names = SessionNames(SqlSessionStore(database), SqlSessionDirectory(database), lambda: NOW)
    making = SessionMaking(transfer.sessions, names, Idempotency(SqlIdempotencyKeys(database), lambda: NOW))
    arrived = await replace(transfer, making=making).bring_in(ANN, document, "arrived")
    told = [event["payload"] for event in (await exported(transfer, child.id))["events"][1:]]
    assert told == [{"parentId": parent.id}, {"parentId": arrived.id}]


@pytest.mark.parametrize("tenant_id", ["tenant", "other"])
async def test_what_a_caller_may_not_see_is_not_there_to_export(
    database: Database, transfer: SessionTransfer, tenant_id: str
) -> None:
    session = await new_session(database, "bob" if tenant_id == "tenant" else "ann", TenantId(tenant_id))
    with pytest.raises(NotFound):
        await exported(transfer, session.id)


async def test_coverage_is_told_the_same_however_often_it_was_registered(
    database: Database, transfer: SessionTransfer
) -> None:
    session = await new_session(database)
    register = SqlCoverageRegister(database, FLEET)
    for cells, capacity in (([CELL], None), ([CELL + (1 << 44)], 2.0), ([CELL - (1 << 32)], None)):
        revision = (await register.of_session(session.id)).revision
        await register.add(session.id, RegisteredCells(cell_array(cells), TileTemplate(capacity)), revision)
    parts = (await exported(transfer, session.id))["coverage"]
    assert [(part["tileCapacity"], len(part["cells"])) for part in parts] == [(2.0, 1), (None, 2)]
    assert parts[1]["cells"] == sorted(parts[1]["cells"])


async def test_of_a_journal_that_is_longer_than_a_document_the_newest_events_are_told_and_the_others_counted(
    database: Database, transfer: SessionTransfer
) -> None:
    session = await new_session(database)
    assert (await exported(transfer, session.id))["eventsOmitted"] == 0
    ticks = [
        event_of(session, SessionEventType.SESSION_TICK, None, NOW + timedelta(seconds=n))
        for n in range(EVENTS_MAX + 1)
    ]
    await SqlJournal(database).append(ticks)
    document = await exported(transfer, session.id)
    # Its start is the one more.
    assert document["eventsOmitted"] == 2
    assert [event["sequence"] for event in document["events"]] == list(range(3, EVENTS_MAX + 3))
    assert read_document(document).events_omitted == 2


async def test_of_events_that_are_long_as_many_are_told_as_the_bytes_of_a_document_allow(
    database: Database, transfer: SessionTransfer
) -> None:
    session = await new_session(database, context={"k": "x" * 200_000})
    payload = {"title": "ä" * 90_000, "source": "USER"}
    for _ in range(30):
        await SqlJournal(database).append(
            [event_of(session, SessionEventType.SESSION_TITLED, None, NOW, payload=payload)]
        )
    document = await exported(transfer, session.id)
    events, size = document["events"], len(msgspec.json.encode(document))
    assert DOCUMENT_BYTES_MAX - 181_000 < size <= DOCUMENT_BYTES_MAX
    assert (events[-1]["sequence"], len(events) + document["eventsOmitted"]) == (31, 31)
    assert read_document(document).session.context == {"k": "x" * 200_000}


@pytest.mark.parametrize("what", ["cells", "associates", "bytes"])
async def test_what_is_too_much_for_a_document_is_refused_with_its_limit(
    database: Database, transfer: SessionTransfer, what: str
) -> None:
    session, limit = await new_session(database), DOCUMENT_BYTES_MAX
    if what == "cells":
        limit = CELLS_MAX
        cells = RegisteredCells(np.arange(limit + 1, dtype=np.int64) + CELL, TileTemplate())
        await SqlCoverageRegister(database, FLEET).add(session.id, cells, 0)
    elif what == "associates":
        limit = RELATIVES_MAX
        change = [sessions.create(NewSession(), TENANT, "ann", NOW).created[0] for _ in range(limit + 1)]
        await SqlSessionStore(database).commit(sessions.SessionChange(created=tuple(change)))
        links = [{"parent_id": session.id, "associate_id": one.id} for one in change]
        async with database.writing() as connection:
            await connection.execute(insert(SESSION_ASSOCIATION), links)
    else:
        # Each part is within its bound, and all of them are not.
        register = SqlCoverageRegister(database, FLEET)
        cells = RegisteredCells(np.arange(CELLS_MAX, dtype=np.int64) + CELL, TileTemplate())
        await register.add(session.id, cells, 0)
        wide = {"context_json": json.dumps({"k": "x" * 2_500_000})}
        async with database.writing() as connection:
            await connection.execute(update(SESSION).where(SESSION.c.id == session.id).values(wide))
    with pytest.raises(QuotaExceeded) as refused:
        await exported(transfer, session.id)
    assert refused.value.limit == limit
    assert refused.value.quota.startswith(what)
