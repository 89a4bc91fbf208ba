"""The journal's positions on every database: in the order of commits, so that a reader that follows misses nothing."""

import asyncio
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, insert, text

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import SESSION_EVENT
from subgraph.domain import sessions
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import JournalEntry
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session
from tests.support.warm_programs import said_at_once

pytestmark = pytest.mark.anyio

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
WRITERS, CHANGES = 6, 25
PAGE = 7
PROCESS_CHANGES = 60

WRITING_PROCESS = f"""
import asyncio, sys
from datetime import UTC, datetime
from subgraph.adapters.sql.database import open_database
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.new_session import NewSession

async def main() -> None:
    database = await open_database(sys.argv[1])
    store = SqlSessionStore(database)
    print("open", flush=True)
    sys.stdin.readline()
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for n in range({PROCESS_CHANGES}):
        wanted = NewSession(display_name=f"{{sys.argv[2]}} {{n}}")
        await store.commit(sessions.create(wanted, "tenant", "ann", now))
    await database.close()

asyncio.run(main())
"""


async def follow(database: Database, until: asyncio.Event) -> list[JournalEntry]:
    """What a reader comes upon that begins at 0 and never looks back, up to a page that is empty after the end."""
    journal = SqlJournal(database)
    read: list[JournalEntry] = []
    while True:
        is_last = until.is_set()
        page = await journal.entries_after(read[-1].position if read else 0, PAGE)
        read += page
        if is_last and not page:
            return read


async def test_a_reader_that_follows_concurrent_writers_reads_every_entry_once(
    database: Database, other_database: Database
) -> None:
    written: list[Session] = []

    async def write(store: SqlSessionStore, number: int) -> None:
        for n in range(CHANGES):
            change = sessions.create(NewSession(display_name=f"{number}/{n}"), TENANT, "ann", NOW)
            await store.commit(change)
            end = sessions.end(change.created[0], actor="bob", now=NOW)
            await store.commit(end)
            written.extend(change.created)

    done = asyncio.Event()
    reader = asyncio.create_task(follow(other_database, done))
    stores = [SqlSessionStore(opened) for opened in (database, other_database)]
    await asyncio.gather(*(write(stores[number % 2], number) for number in range(WRITERS)))
    done.set()
    read = await reader
    told = [(entry.event.session_id, entry.sequence) for entry in read]
    assert len(told) == len(set(told))
    assert set(told) == {(session.id, sequence) for session in written for sequence in (1, 2)}
    for session in written:
        assert [sequence for session_id, sequence in told if session_id == session.id] == [1, 2]


async def test_a_reader_that_follows_writers_of_other_processes_reads_every_entry_once(
    database: Database, database_url: str
) -> None:
    done = asyncio.Event()
    reader = asyncio.create_task(follow(database, done))
    await said_at_once(WRITING_PROCESS, *([database_url, str(number)] for number in range(2)))
    done.set()
    read = await reader
    assert len({entry.event.session_id for entry in read}) == len(read) == 2 * PROCESS_CHANGES


async def test_an_entry_whose_transaction_lingers_is_not_passed_by_a_later_one(
    database: Database, other_database: Database
) -> None:
    """The later writer waits: were it visible first, a reader's cursor would be beyond the entry still to come."""
    change = sessions.create(NewSession(display_name="a"), TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(change)
    (session,) = change.created
    journal = SqlJournal(database)
    before = await journal.newest_position()

    def linger(connection: Connection) -> None:
        _insert(connection, _entry(session, 100))
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_sleep(0.4)"))

    first = asyncio.create_task(database.write(linger))
    await asyncio.sleep(0.1)
    await other_database.write(lambda it: _insert(it, _entry(session, 101)))
    assert [entry.sequence for entry in await journal.entries_after(before, PAGE)] == [100, 101]
    await first


async def test_a_change_that_was_undone_leaves_a_gap_and_its_position_is_not_used_again(database: Database) -> None:
    change = sessions.create(NewSession(display_name="a"), TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(change)
    journal = SqlJournal(database)
    newest = await journal.newest_position()

    def fail(connection: Connection) -> None:
        _insert(connection, _entry(change.created[0], 100))
        raise LookupError

    with pytest.raises(LookupError):
        await database.write(fail)
    assert await journal.newest_position() == newest
    await database.write(lambda it: _insert(it, _entry(change.created[0], 101)))
    assert [entry.sequence for entry in await journal.entries_after(newest, PAGE)] == [101]


def _insert(connection: Connection, row: dict[str, object]) -> None:
    connection.execute(insert(SESSION_EVENT), row)


def _entry(session: Session, sequence: int) -> dict[str, object]:
    return {
        "tenant_id": session.tenant_id,
        "session_id": session.id,
        "owner_id": session.owner_id,
        "sequence": sequence,
        "type": "SESSION_UPDATED",
        "occurred_at": NOW,
    }
