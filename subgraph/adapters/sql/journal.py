"""Owns the journal in SQL: how events are numbered and written within a transaction, and how entries are read."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Connection, Integer, Select, bindparam, delete, func, insert, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import entry_of, event_values
from subgraph.adapters.sql.session_directory import ids_statement
from subgraph.adapters.sql.tables import SESSION, SESSION_EVENT
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import JournalEntry, SessionEvent
from subgraph.operations.journal import EntryFilter

POSITIONS_PER_STATEMENT = 10_000

# Made once, because making a statement costs as much as carrying it out.
_RAISE_SEQUENCE = (
    update(SESSION)
    .where(SESSION.c.id == bindparam("of_session"))
    .values(last_sequence=SESSION.c.last_sequence + bindparam("by"))
    .returning(SESSION.c.last_sequence)
)
_INSERT_EVENTS = insert(SESSION_EVENT)
_SELECT_NEXT = (
    select(SESSION_EVENT)
    .where(SESSION_EVENT.c.position > bindparam("after"))
    .order_by(SESSION_EVENT.c.position)
    .limit(bindparam("most", type_=Integer))
)
_SELECT_UNRELAYED = _SELECT_NEXT.where(SESSION_EVENT.c.relayed_at.is_(None))
_MARK_RELAYED = (
    update(SESSION_EVENT)
    .where(SESSION_EVENT.c.position.in_(bindparam("positions", expanding=True)))
    .values(relayed_at=bindparam("now"))
)


class SqlJournal:
    """The Journal port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, events: Sequence[SessionEvent]) -> None:
        """Write events that change nothing of their sessions, in one transaction."""
        if events:
            await self._database.write(partial(write_events, events=events))

    async def newest_position(self) -> int:
        """The position of the newest entry; 0 before the first."""
        async with self._database.reading() as connection:
            return await connection.scalar(select(func.max(SESSION_EVENT.c.position))) or 0

    async def entries_after(self, position: int, limit: int) -> list[JournalEntry]:
        """The next entries of all tenants behind a position."""
        return await self._read(_SELECT_NEXT, position, limit)

    async def entries(
        self, wanted: EntryFilter, after: int, limit: int, up_to: int | None = None
    ) -> list[JournalEntry]:
        """The next entries behind a position that are wanted, up to a position."""
        page = _SELECT_NEXT.where(SESSION_EVENT.c.tenant_id == wanted.tenant_id)
        if up_to is not None:
            page = page.where(SESSION_EVENT.c.position <= up_to)
        if wanted.session_ids is not None:
            page = page.where(SESSION_EVENT.c.session_id.in_(wanted.session_ids))
        if wanted.owner_id is not None:
            page = page.where(SESSION_EVENT.c.owner_id == wanted.owner_id)
        if wanted.data_source is not None:
            page = page.where(SESSION_EVENT.c.data_source == wanted.data_source)
        if wanted.types is not None:
            page = page.where(SESSION_EVENT.c.type.in_([one.value for one in wanted.types]))
        if wanted.listed is not None:
            page = page.where(SESSION_EVENT.c.session_id.in_(ids_statement(wanted.listed)))
        return await self._read(page, after, limit)

    async def unrelayed(self, limit: int) -> list[JournalEntry]:
        """The oldest entries not yet marked as relayed."""
        return await self._read(_SELECT_UNRELAYED, 0, limit)

    async def mark_relayed(self, positions: Sequence[int]) -> None:
        """Remember that these entries were announced."""
        for start in range(0, len(positions), POSITIONS_PER_STATEMENT):
            marked = {"positions": positions[start : start + POSITIONS_PER_STATEMENT], "now": datetime.now(UTC)}
            # With the others: two relays that mark the same entries must not wait for each other's rows in a circle.
            await self._database.write(partial(_mark, marked))

    async def _read(self, page: Select[tuple[object, ...]], after: int, limit: int) -> list[JournalEntry]:
        asked = {"after": after, "most": limit}
        return await self._database.read(lambda it: [entry_of(row) for row in it.execute(page, asked)])


def write_events(connection: Connection, events: Sequence[SessionEvent]) -> None:
    """Number events within their sessions and write them, in the transaction of what they tell of.

    To be called within `Database.write` alone: there, whoever else writes events waits for this transaction's end, so
    that positions become visible in their order. Events of sessions that are not there are left out.
    """
    sequence_of: dict[SessionId, int] = {}
    for session_id, count in Counter(event.session_id for event in events).items():
        last = connection.scalar(_RAISE_SEQUENCE, {"of_session": session_id, "by": count})
        if last is not None:
            sequence_of[session_id] = last - count
    _insert_events(connection, events, sequence_of)


def write_first_events(connection: Connection, events: Sequence[SessionEvent]) -> None:
    """The same with all events of sessions that were just made, whose rows say by themselves how many they are."""
    _insert_events(connection, events, {event.session_id: 0 for event in events})


def forget_events(connection: Connection, session_ids: Sequence[SessionId]) -> None:
    """Remove all that the journal tells of sessions. Their numbers, and all positions, are never used again."""
    if session_ids:
        connection.execute(delete(SESSION_EVENT).where(SESSION_EVENT.c.session_id.in_(session_ids)))


def _insert_events(connection: Connection, events: Sequence[SessionEvent], sequence_of: dict[SessionId, int]) -> None:
    rows = []
    for event in events:
        if event.session_id in sequence_of:
            sequence_of[event.session_id] += 1
            rows.append(event_values(event, sequence_of[event.session_id]))
    if rows:
        connection.execute(_INSERT_EVENTS, rows)


def _mark(marked: Mapping[str, object], connection: Connection) -> None:
    connection.execute(_MARK_RELAYED, marked)
