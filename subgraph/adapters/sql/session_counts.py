"""Owns how many sessions are ACTIVE in SQL, by data source."""

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Connection, func, or_, select

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.tables import SESSION
from subgraph.domain.sessions import SessionState


async def active_sessions_by_data_source(database: Database, now: datetime, most: int) -> Mapping[str | None, int]:
    """The ACTIVE sessions of all tenants by data source, of those with the most; what is left comes under None.

    Sessions without a data source come under the empty text.

    Raises:
        Unavailable: the database did not answer.
    """
    source = func.coalesce(SESSION.c.data_source, "")
    unexpired = or_(SESSION.c.expires_at.is_(None), SESSION.c.expires_at > now)
    counted = (
        select(source, func.count())
        .where(SESSION.c.state == SessionState.ACTIVE.value, unexpired)
        .group_by(source)
        .order_by(func.count().desc(), source)
    )

    def work(connection: Connection) -> Mapping[str | None, int]:
        counts: dict[str | None, int] = {}
        for place, (name, count) in enumerate(connection.execute(counted)):
            key = name if place < most else None
            counts[key] = counts.get(key, 0) + count
        return counts

    return await database.read(work)
