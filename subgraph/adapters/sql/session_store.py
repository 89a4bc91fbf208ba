"""Owns sessions and their journal in SQL: reads within one tenant, and atomic changes."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import Connection, Select, and_, bindparam, delete, insert, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from subgraph.adapters.sql.coverage_rows import write_new_coverage
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.failures import is_duplicate
from subgraph.adapters.sql.group_commit import Work
from subgraph.adapters.sql.idempotency_keys import write_key
from subgraph.adapters.sql.journal import forget_events, write_events, write_first_events
from subgraph.adapters.sql.journal_shortening import LongJournal, require_short, shorten
from subgraph.adapters.sql.rows import is_text, session_of, session_values
from subgraph.adapters.sql.session_conflicts import conflict_of
from subgraph.adapters.sql.session_sweeps import remove_sessions
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION, SESSION_ASSOCIATION
from subgraph.domain.errors import NotFound, RevisionConflict
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session, SessionChange, SessionState
from subgraph.operations.sessions.session_ports import ChangeGuard, unguarded

T = TypeVar("T")

IDS_PER_QUERY = 10_000
ATTEMPTS_MAX = 5
"""For each of them another session must have come and gone; what is refused more often is a mistake of this program."""
# Made once, because making a statement costs as much as carrying it out.
_SELECT_SESSION = select(SESSION).where(
    SESSION.c.tenant_id == bindparam("of_tenant"), SESSION.c.id == bindparam("of_session")
)
_SELECT_SESSIONS = select(SESSION).where(
    SESSION.c.tenant_id == bindparam("of_tenant"), SESSION.c.id.in_(bindparam("of_sessions", expanding=True))
)
_SELECT_REVISIONS = select(SESSION.c.id, SESSION.c.revision).where(
    SESSION.c.id.in_(bindparam("of_sessions", expanding=True))
)
_INSERT_SESSIONS = insert(SESSION)
# Its values are those columns that its parameters name.
_UPDATE_SESSION = update(SESSION).where(
    SESSION.c.tenant_id == bindparam("of_tenant"),
    SESSION.c.id == bindparam("of_session"),
    SESSION.c.revision == bindparam("expected_revision"),
)


class SqlSessionStore:
    """The SessionStore port on SQL."""

    def __init__(self, database: Database, guard: ChangeGuard = unguarded) -> None:
        self._database = database
        self._guard = guard

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The tenant's sessions among the ids."""
        ids = [session_id for session_id in dict.fromkeys(session_ids) if is_text(session_id)]
        found: dict[SessionId, Session] = {}
        if not ids:
            return found
        for start in range(0, len(ids), IDS_PER_QUERY):
            mine = {"of_tenant": tenant_id, "of_sessions": ids[start : start + IDS_PER_QUERY]}
            read = await self._database.read(partial(_sessions, _SELECT_SESSIONS, mine))
            found |= {session.id: session for session in read}
        return found

    async def revisions(self, session_ids: Sequence[SessionId]) -> dict[SessionId, int]:
        """The revisions of those that there are, of all tenants."""
        found: dict[SessionId, int] = {}
        for start in range(0, len(session_ids), IDS_PER_QUERY):
            wanted = {"of_sessions": session_ids[start : start + IDS_PER_QUERY]}
            found |= await self._database.read(partial(_revisions, wanted))
        return found

    async def main_session(self, tenant_id: TenantId) -> Session | None:
        """The tenant's main session, or None before its first contact."""
        wanted = select(SESSION).where(SESSION.c.tenant_id == tenant_id, SESSION.c.is_main)
        return next(iter(await self._database.read(partial(_sessions, wanted, {}))), None)

    async def commit(self, change: SessionChange) -> None:
        """Write sessions and events in one transaction, or nothing at all."""
        async with self._guard([(one.tenant_id, one.id) for one in (*change.updated, *change.purged)]):
            await self._write(partial(write_change, change), lambda: change)

    async def change(
        self, tenant_id: TenantId, session_id: SessionId, decide: Callable[[Session | None], SessionChange]
    ) -> tuple[Session, SessionChange]:
        """Read a session, decide, and commit, in one transaction."""
        wanted = {"of_tenant": tenant_id, "of_session": session_id}
        decided = SessionChange()

        def work(connection: Connection) -> tuple[Session, SessionChange]:
            nonlocal decided
            session = next(iter(_sessions(_SELECT_SESSION, wanted, connection)), None) if is_text(session_id) else None
            decided = decide(session)
            assert session is not None, "who decides raises where there is no session"
            write_change(decided, connection)
            return session, decided

        async with self._guard([(tenant_id, session_id)]):
            return await self._write(work, lambda: decided)

    async def _write(self, work: Work[T], decided: Callable[[], SessionChange]) -> T:
        attempts = 0
        while True:
            try:
                return await self._database.write(work)
            except LongJournal as long:
                await shorten(self._database, long.session_ids)
            except IntegrityError as error:
                conflict = await conflict_of(decided(), self._database)
                if conflict is not None:
                    raise conflict from error
                attempts += 1
                # Nothing stands in the way any more: what did was renamed, or is gone.
                if not is_duplicate(error) or attempts == ATTEMPTS_MAX:
                    raise


def _sessions(select: Select[Any], wanted: Mapping[str, object], connection: Connection) -> list[Session]:
    return [session_of(row) for row in connection.execute(select, wanted)]


def _revisions(wanted: Mapping[str, object], connection: Connection) -> dict[SessionId, int]:
    return {SessionId(row.id): row.revision for row in connection.execute(_SELECT_REVISIONS, wanted)}


def write_change(change: SessionChange, connection: Connection) -> None:
    """Write a change, within `Database.write` alone, because it writes to the journal.

    Raises:
        RevisionConflict, NotFound, IntegrityError: as `SqlSessionStore.commit` tells of them.
        LongJournal: of what is to be purged.
    """
    if change.key is not None:
        # First of all: of two at once, the later one waits here for the other, and has changed nothing.
        write_key(connection, change.key, change.created[0])
    # What is there already comes first: an ended main makes way for the session that takes over its name.
    for session in change.updated:
        _update(connection, session)
    ended = [session.id for session in change.updated if session.state is SessionState.ENDED]
    if ended:
        # Nothing brings back a session that has ended; what is registered of it has no use any more.
        connection.execute(delete(REGISTERED_CELLS).where(REGISTERED_CELLS.c.session_id.in_(ended)))
    require_short(connection, [session.id for session in change.purged])
    # Of a purged session its stops, and what this change tells, stay in the journal.
    forget_events(connection, [session.id for session in change.purged])
    # An event takes its number from the row of its session, which must be there: still, or by now.
    created = {session.id for session in change.created}
    write_events(connection, [event for event in change.events if event.session_id not in created])
    for session in change.purged:
        _purge(connection, session)
    if created:
        first_events = [event for event in change.events if event.session_id in created]
        counts = Counter(event.session_id for event in first_events)
        rows = [{**session_values(one), "last_sequence": counts[one.id]} for one in change.created]
        connection.execute(_INSERT_SESSIONS, rows)
        write_first_events(connection, first_events)
    if change.coverage is not None:
        write_new_coverage(connection, change.created[0], change.coverage)
    _write_associations(connection, change)


def _write_associations(connection: Connection, change: SessionChange) -> None:
    if change.associated:
        values = [{"parent_id": one.parent_id, "associate_id": one.associate_id} for one in change.associated]
        connection.execute(insert(SESSION_ASSOCIATION), values)
    if change.dissociated:
        key = tuple_(SESSION_ASSOCIATION.c.parent_id, SESSION_ASSOCIATION.c.associate_id)
        pairs = [(one.parent_id, one.associate_id) for one in change.dissociated]
        connection.execute(delete(SESSION_ASSOCIATION).where(key.in_(pairs)))


def _purge(connection: Connection, session: Session) -> None:
    mine = and_(SESSION.c.id == session.id, SESSION.c.tenant_id == session.tenant_id)
    # Locked where others write rows at the same time (PostgreSQL).
    revision = connection.scalar(select(SESSION.c.revision).where(mine).with_for_update())
    if revision != session.revision:
        raise _not_as_expected(connection, session)
    remove_sessions(connection, [session.id])


def _update(connection: Connection, session: Session) -> None:
    values = session_values(session)
    mine = {"of_session": values.pop("id"), "of_tenant": values.pop("tenant_id")}
    done = connection.execute(_UPDATE_SESSION, {**values, **mine, "expected_revision": session.revision - 1})
    if done.rowcount != 1:
        raise _not_as_expected(connection, session)


def _not_as_expected(connection: Connection, session: Session) -> NotFound | RevisionConflict:
    mine = and_(SESSION.c.id == session.id, SESSION.c.tenant_id == session.tenant_id)
    revision = connection.scalar(select(SESSION.c.revision).where(mine))
    if revision is None:
        return NotFound("Session", session.id, ("id",))
    return RevisionConflict(session.id, revision, ("expectedRevision",))
