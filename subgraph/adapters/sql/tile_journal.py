"""Owns tile events in SQL: written in one transaction with the position reached in the fleet's log."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from sqlalchemy import Connection, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import write_events
from subgraph.adapters.sql.rows import session_of
from subgraph.adapters.sql.tables import FLEET, SESSION
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import event_of
from subgraph.operations.history.term_history import LoggedChange
from subgraph.operations.history.tile_journal import TilesTold, tiles_told

SESSIONS_PER_QUERY = 1_000


class SqlTileJournal:
    """The TileJournal port on SQL and one fleet id."""

    def __init__(self, database: Database, fleet_id: str) -> None:
        self._database = database
        self._fleet_id = fleet_id

    async def tell(self, changes: Sequence[LoggedChange]) -> None:
        """Tell of changes in the order of the log, of those that were not told yet."""
        if changes:
            await self._database.write(partial(_tell, self._fleet_id, changes))

    async def tell_apart(self, told: Sequence[TilesTold]) -> None:
        """Tell what is in no log, in one transaction."""
        if told:
            await self._database.write(partial(_write_told, told))


def _tell(fleet_id: str, changes: Sequence[LoggedChange], connection: Connection) -> None:
    mine = FLEET.c.id == fleet_id
    place = connection.execute(select(FLEET.c.told_version, FLEET.c.told_entry).where(mine)).one_or_none()
    # Nobody has led a fleet that is not there, so nothing of it can have been committed.
    if place is None:
        return
    # A Redis that was emptied counts its entries anew, in versions above all before.
    fresh = [change for change in changes if (change.version, change.entry) > tuple(place)]
    if not fresh:
        return
    _write_told(list(tiles_told(fresh)), connection)
    last = max((change.version, change.entry) for change in fresh)
    connection.execute(update(FLEET).where(mine).values(told_version=last[0], told_entry=last[1]))


def _write_told(told: Sequence[TilesTold], connection: Connection) -> None:
    ids = list({one.session_id for one in told})
    rows = [
        row
        for start in range(0, len(ids), SESSIONS_PER_QUERY)
        for row in connection.execute(select(SESSION).where(SESSION.c.id.in_(ids[start : start + SESSIONS_PER_QUERY])))
    ]
    session_by_id = {SessionId(row.id): session_of(row) for row in rows}
    events = [
        event_of(session_by_id[one.session_id], one.type, None, _at(one), payload=one.payload)
        for one in told
        if one.session_id in session_by_id
    ]
    write_events(connection, events)


def _at(told: TilesTold) -> datetime:
    return datetime.fromtimestamp(told.at_ms / 1_000, UTC)
