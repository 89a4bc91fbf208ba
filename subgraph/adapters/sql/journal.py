"""Owns the journal in SQL: how events are numbered and written within a transaction, and how entries are read."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Connection, Integer, Select, bindparam, delete, func, insert, select, text, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import entry_of, event_values
from subgraph.adapters.sql.session_directory import ids_statement
from subgraph.adapters.sql.tables import CAME_BY_ITSELF, SESSION, SESSION_EVENT
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import STOPS, JournalEntry, SessionEvent, SessionEventType
from subgraph.operations.journal.journal import EntryFilter

POSITIONS_PER_STATEMENT = 10_000
SESSIONS_PER_READ = 100
"""Sessions whose entries are read in one go: then others who read have their turn."""

# Made once, because making a statement costs as much as carrying it out.
_RAISE_SEQUENCE = (
    update(SESSION)
    .where(SESSION.c.id == bindparam("of_session"))
    .values(last_sequence=SESSION.c.last_sequence + bindparam("by"))
    .returning(SESSION.c.last_sequence)
)
_RAISE_SEQUENCES = (
    update(SESSION)
    .where(SESSION.c.id.in_(bindparam("of_sessions", expanding=True)))
    .values(last_sequence=SESSION.c.last_sequence + bindparam("by"))
    .returning(SESSION.c.id, SESSION.c.last_sequence)
)
_INSERT_EVENTS = insert(SESSION_EVENT)
_INSERT_SAME_EVENT = insert(SESSION_EVENT).from_select(
    ["tenant_id", "session_id", "owner_id", "data_source", "sequence", "type", "occurred_at"],
    select(
        SESSION.c.tenant_id,
        SESSION.c.id,
        SESSION.c.owner_id,
        SESSION.c.data_source,
        SESSION.c.last_sequence + 1,
        bindparam("of_type", type_=SESSION_EVENT.c.type.type),
        bindparam("at", type_=SESSION_EVENT.c.occurred_at.type),
    )
    .where(SESSION.c.id.in_(bindparam("of_sessions", expanding=True)))
    .order_by(SESSION.c.id),
)
_STOPS = sorted(one.value for one in STOPS)
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
_NEWEST_POSITION = select(func.max(SESSION_EVENT.c.position))
# What the database itself remembers, to hand out none again: it outlives all entries.
_HIGHEST_POSITION = {
    "sqlite": text("SELECT seq FROM sqlite_sequence WHERE name = 'session_event'"),
    "postgresql": text(
        "SELECT pg_sequence_last_value(CAST(pg_get_serial_sequence('session_event', 'position') AS regclass))"
    ),
}
_SELECT_OLD = (
    select(SESSION_EVENT.c.position)
    .where(
        text(CAME_BY_ITSELF),
        SESSION_EVENT.c.occurred_at < bindparam("before"),
        SESSION_EVENT.c.relayed_at.is_not(None),
    )
    .order_by(SESSION_EVENT.c.occurred_at, SESSION_EVENT.c.position)
    .limit(bindparam("most", type_=Integer))
)
_FORGET_OLD = delete(SESSION_EVENT).where(SESSION_EVENT.c.position.in_(_SELECT_OLD))


class SqlJournal:
    """The Journal port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(self, events: Sequence[SessionEvent]) -> None:
        """Write events that change nothing of their sessions, in one transaction."""
        if events:
            await self._database.write(partial(write_events, events=events))

    async def newest_position(self) -> int:
        """The position of the newest entry that is there; 0 if there is none."""
        return await self._database.read(lambda it: it.scalar(_NEWEST_POSITION) or 0)

    async def highest_position(self) -> int:
        """The highest position that was ever handed out; 0 before the first."""
        return await self._database.read(lambda it: it.scalar(_HIGHEST_POSITION[it.dialect.name]) or 0)

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

    async def entries_of_each(
        self,
        tenant_id: TenantId,
        session_ids: Sequence[SessionId],
        types: Collection[SessionEventType] | None,
        after: int,
        limit: int,
    ) -> dict[SessionId, list[JournalEntry]]:
        """The next entries of each of some sessions behind a position, of some types or all."""
        page = _SELECT_NEXT.where(
            SESSION_EVENT.c.tenant_id == tenant_id, SESSION_EVENT.c.session_id == bindparam("of_session")
        )
        if types is not None:
            page = page.where(SESSION_EVENT.c.type.in_([one.value for one in types]))
        asked = {"after": after, "most": limit}

        def read(some: Sequence[SessionId], connection: Connection) -> dict[SessionId, list[JournalEntry]]:
            # One short query each: a single one for all could not stop after a page of every session.
            return {one: [*map(entry_of, connection.execute(page, {**asked, "of_session": one}))] for one in some}

        found: dict[SessionId, list[JournalEntry]] = {}
        for start in range(0, len(session_ids), SESSIONS_PER_READ):
            found |= await self._database.read(partial(read, session_ids[start : start + SESSIONS_PER_READ]))
        return found

    async def unrelayed(self, limit: int) -> list[JournalEntry]:
        """The oldest entries not yet marked as relayed."""
        return await self._read(_SELECT_UNRELAYED, 0, limit)

    async def mark_relayed(self, positions: Sequence[int]) -> None:
        """Remember that these entries were announced."""
        for start in range(0, len(positions), POSITIONS_PER_STATEMENT):
            marked = {"positions": positions[start : start + POSITIONS_PER_STATEMENT], "now": datetime.now(UTC)}
            # With the others: two relays that mark the same entries must not wait for each other's rows in a circle.
            await self._database.write(partial(_mark, marked))

    async def forget_old(self, before: datetime, limit: int) -> int:
        """Remove the oldest entries that came by themselves before a moment."""
        asked = {"before": before, "most": limit}
        # Mostly there is none, and whoever only looks keeps no writer waiting.
        if not await self._database.read(lambda connection: connection.execute(_SELECT_OLD, asked).first()):
            return 0
        return await self._database.write(
            lambda connection: connection.execute(_FORGET_OLD, asked).rowcount, is_patient=True
        )

    async def _read(self, page: Select[tuple[object, ...]], after: int, limit: int) -> list[JournalEntry]:
        asked = {"after": after, "most": limit}
        return await self._database.read(lambda it: [entry_of(row) for row in it.execute(page, asked)])


def write_events(connection: Connection, events: Sequence[SessionEvent]) -> None:
    """Number events within their sessions and write them, in the transaction of what they tell of.

    To be called within `Database.write` alone: there, whoever else writes events waits for this transaction's end, so
    that positions become visible in their order. Events of sessions that are not there are left out.
    """
    sequence_of = dict(_sequences_before(connection, Counter(event.session_id for event in events)))
    _insert_events(connection, events, sequence_of)


def write_first_events(connection: Connection, events: Sequence[SessionEvent]) -> None:
    """The same with all events of sessions that were just made, whose rows say by themselves how many they are."""
    _insert_events(connection, events, {event.session_id: 0 for event in events})


def write_same_event(
    connection: Connection, session_ids: Sequence[SessionId], event_type: SessionEventType, occurred_at: datetime
) -> None:
    """Write that the same has happened by itself to each of sessions, as the next event of each.

    To be called within `Database.write` alone, as `write_events`; and before the sessions' rows go, or have their
    `last_sequence` raised by one, which is left to the caller.
    """
    told = {"of_sessions": session_ids, "of_type": event_type.value, "at": occurred_at}
    connection.execute(_INSERT_SAME_EVENT, told)


def forget_events(connection: Connection, session_ids: Sequence[SessionId]) -> None:
    """Remove what the journal tells of sessions, but for their stops. All numbers and positions stay used.

    A reader may be behind by any length, and is told of each stop once; nothing of a session's content is in one.
    """
    if session_ids:
        theirs = SESSION_EVENT.c.session_id.in_(session_ids)
        connection.execute(delete(SESSION_EVENT).where(theirs, SESSION_EVENT.c.type.not_in(_STOPS)))


def _insert_events(connection: Connection, events: Sequence[SessionEvent], sequence_of: dict[SessionId, int]) -> None:
    rows = []
    for event in events:
        if event.session_id in sequence_of:
            sequence_of[event.session_id] += 1
            rows.append(event_values(event, sequence_of[event.session_id]))
    if rows:
        connection.execute(_INSERT_EVENTS, rows)


def _sequences_before(connection: Connection, count_of: Counter[SessionId]) -> Iterator[tuple[SessionId, int]]:
    """Raise the sequences of sessions by so many events each, and tell what they were; of those that are there."""
    sessions_of: defaultdict[int, list[SessionId]] = defaultdict(list)
    for session_id, count in count_of.items():
        sessions_of[count].append(session_id)
    for count, session_ids in sessions_of.items():
        raised: Iterable[tuple[SessionId, int | None]]
        if len(session_ids) == 1:
            raised = [(session_ids[0], connection.scalar(_RAISE_SEQUENCE, {"of_session": session_ids[0], "by": count}))]
        else:
            rows = connection.execute(_RAISE_SEQUENCES, {"of_sessions": session_ids, "by": count})
            raised = [(SessionId(row.id), row.last_sequence) for row in rows]
        yield from ((session_id, last - count) for session_id, last in raised if last is not None)


def _mark(marked: Mapping[str, object], connection: Connection) -> None:
    connection.execute(_MARK_RELAYED, marked)
