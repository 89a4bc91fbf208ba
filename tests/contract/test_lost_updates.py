"""Changes of one session by many at once, on every database: none is lost, whoever made them, in whichever process."""

import asyncio
from datetime import UTC, datetime

import pytest

from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.errors import InvalidInput, RevisionConflict
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session, SessionPatch
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.sessions import Sessions
from tests.support.warm_programs import said_at_once

pytestmark = pytest.mark.anyio

CALLER = Caller(TenantId("tenant"), "ann", ALL_SCOPES)
NOW = datetime(2026, 3, 1, tzinfo=UTC)
WRITERS = 50
PROCESS_CHANGES = 25

CHANGING_PROCESS = f"""
import asyncio, sys
from datetime import UTC, datetime
from subgraph.adapters.sql.database import open_database
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.sessions import SessionPatch
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.sessions import Sessions

async def main() -> None:
    url, session_id, name = sys.argv[1:]
    database = await open_database(url)
    now = datetime(2026, 3, 1, tzinfo=UTC)
    changes = SessionChanges(Sessions(SqlSessionStore(database), lambda: now, lambda: None))
    caller = Caller("tenant", "ann", ALL_SCOPES)
    print("open", flush=True)
    sys.stdin.readline()
    for n in range({PROCESS_CHANGES}):
        await changes.update(caller, session_id, SessionPatch(details={{f"{{name}}{{n}}": "written"}}))
    await database.close()

asyncio.run(main())
"""


def changes_on(database: Database) -> SessionChanges:
    return SessionChanges(Sessions(SqlSessionStore(database), lambda: NOW, lambda: None))


async def written_alone(database: Database) -> Session:
    change = sessions.create(NewSession(), CALLER.tenant_id, CALLER.owner_id, NOW)
    await changes_on(database).sessions.commit(change)
    return change.created[0]


async def sequences(database: Database, session: Session) -> list[int]:
    entries = await SqlJournal(database).entries_after(0, 10_000)
    return [entry.sequence for entry in entries if entry.event.session_id == session.id]


@pytest.mark.requirement("Isolation: better than one process on a directory")
async def test_fifty_writers_on_one_session_lose_nothing_and_none_has_to_try_again(
    database: Database, database_url: str
) -> None:
    other_database = await open_database(database_url)
    session = await written_alone(database)
    places = [changes_on(database), changes_on(other_database)]
    changes = (
        places[number % 2].update(CALLER, session.id, SessionPatch(details={f"{number}": "written"}))
        for number in range(WRITERS)
    )
    returned = await asyncio.gather(*changes)
    after = await places[0].sessions.get(CALLER, session.id)
    assert after.details == {f"{number}": "written" for number in range(WRITERS)}
    assert sorted(one.revision for one in returned) == list(range(2, WRITERS + 2))
    assert await sequences(database, session) == list(range(1, WRITERS + 2))
    await other_database.close()


@pytest.mark.requirement("Isolation: better than one process on a directory")
async def test_two_processes_that_change_one_session_lose_no_update(database: Database, database_url: str) -> None:
    session = await written_alone(database)
    await said_at_once(CHANGING_PROCESS, *([database_url, session.id, name] for name in ("a", "b")))
    after = await changes_on(database).sessions.get(CALLER, session.id)
    assert set(after.details) == {f"{name}{n}" for name in ("a", "b") for n in range(PROCESS_CHANGES)}
    assert after.revision == 1 + 2 * PROCESS_CHANGES
    assert await sequences(database, session) == list(range(1, 2 * PROCESS_CHANGES + 2))


async def test_what_is_beyond_a_limit_is_refused_before_the_database_is_asked(database: Database) -> None:
    await database.close()
    with pytest.raises(InvalidInput) as refused:
        await changes_on(database).update(CALLER, SessionId("a"), SessionPatch(remove_context=("x",) * 10_001))
    assert (refused.value.path, refused.value.limit) == (("removeContext",), "10000 keys")


@pytest.mark.requirement("Optimistic concurrency: `expectedRevision`")
async def test_of_many_that_expect_one_revision_one_succeeds_and_the_others_learn_the_current_one(
    database: Database,
) -> None:
    session = await written_alone(database)
    changes = changes_on(database)
    outcomes = await asyncio.gather(
        *(
            changes.update(CALLER, session.id, SessionPatch(details={f"{number}": "written"}), expected_revision=1)
            for number in range(10)
        ),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, RevisionConflict)]
    assert len(refused) == 9
    assert {one.current_revision for one in refused} == {2}
    assert len((await changes.sessions.get(CALLER, session.id)).details) == 1


async def test_changes_of_different_kinds_at_once_are_all_there_afterwards(database: Database) -> None:
    for _ in range(5):
        session = await written_alone(database)
        changes = changes_on(database)
        patch = SessionPatch(details={"late": "or not"})
        renamed, updated = await asyncio.gather(
            changes.rename(CALLER, session.id, f"{session.id} renamed"),
            changes.update(CALLER, session.id, patch),
        )
        after = await changes.sessions.get(CALLER, session.id)
        assert after.display_name == f"{session.id} renamed"
        assert after.details == {"late": "or not"}
        assert {renamed.revision, updated.revision} == {2, 3}
