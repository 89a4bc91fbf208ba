"""Names that change hands while a session is given one, on every database: whose they are is told to nobody else."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import pytest

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import NameTaken
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.session_lifecycle import SessionLifecycle
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.session_naming import SessionNaming
from subgraph.operations.sessions.sessions import Sessions

pytestmark = pytest.mark.anyio

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = Caller(TENANT, "ann", frozenset({Scope.SESSION_WRITE}))


class Meanwhile(SqlSessionStore):
    """A store in which something else is done right after the first look at a session."""

    then: Callable[[], Awaitable[object]] | None = None

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        found = await super().sessions(tenant_id, session_ids)
        if self.then is not None:
            then, self.then = self.then, None
            await then()
        return found


async def test_of_a_name_that_a_session_bore_a_moment_ago_nobody_is_told_who_has_it_now(database: Database) -> None:
    store = Meanwhile(database)
    all_sessions = Sessions(store, lambda: NOW, lambda: None)
    changes = SessionChanges(all_sessions)
    names = SessionNames(store, SqlSessionDirectory(database), lambda: NOW)
    naming = SessionNaming(all_sessions, changes, SessionLifecycle(all_sessions), names)
    wanted = NewSession(display_name="a")
    anns = sessions.create(wanted, TENANT, "ann", NOW)
    await store.commit(anns)
    session_id = anns.created[0].id

    async def change_hands() -> None:
        await changes.rename(ANN, session_id, "b")
        await store.commit(sessions.create(wanted, TENANT, "bob", NOW))

    store.then = change_hands
    with pytest.raises(NameTaken) as refused:
        await naming.rename(ANN, session_id, "a")
    assert (refused.value.display_name, refused.value.conflicting_id) == ("a", None)
