"""Owns how long journals of sessions are shortened before a purge, so that its one transaction stays short.

Only what came by itself goes beforehand, which retention forgets anyway: a purge that is then refused, or cut short,
leaves a session of which all that anybody did is still told.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Integer, bindparam, delete, select, text

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.tables import CAME_BY_ITSELF, SESSION_EVENT
from subgraph.domain.ids import SessionId

ENTRIES_PER_WRITE_MAX = 500

_CHOSEN = (
    select(SESSION_EVENT.c.position)
    .where(
        SESSION_EVENT.c.session_id.in_(bindparam("session_ids", expanding=True)),
        text(CAME_BY_ITSELF),
    )
    .limit(bindparam("most", type_=Integer))
)
_FORGET = delete(SESSION_EVENT).where(SESSION_EVENT.c.position.in_(_CHOSEN))


class LongJournal(Exception):
    """Sessions are to be purged whose journals have to be shortened first; nothing was written."""

    def __init__(self, session_ids: Sequence[SessionId]) -> None:
        super().__init__(session_ids)
        self.session_ids = session_ids


def require_short(connection: Connection, session_ids: Sequence[SessionId]) -> None:
    """Refuse to purge sessions of which more came by itself than one transaction takes.

    Raises:
        LongJournal: `shorten` them, and try again.
    """
    if session_ids:
        asked = {"session_ids": session_ids, "most": ENTRIES_PER_WRITE_MAX + 1}
        if len(connection.execute(_CHOSEN, asked).all()) > ENTRIES_PER_WRITE_MAX:
            raise LongJournal(session_ids)


async def shorten(database: Database, session_ids: Sequence[SessionId]) -> None:
    """Remove what came by itself from sessions' journals, in transactions between which others write.

    Raises:
        Unavailable: the database did not answer, or stayed busy beyond its bound; what was removed stays so.
    """
    asked = {"session_ids": session_ids, "most": ENTRIES_PER_WRITE_MAX}
    while await database.write(lambda it: it.execute(_FORGET, asked).rowcount) == ENTRIES_PER_WRITE_MAX:
        pass
