"""Owns the sessions among which the benchmark looks: a database filled to a size, and the cursor of a place in it."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, insert, select, text

from subgraph.adapters.sql.cursors import encode_session_cursor
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import session_of, session_values
from subgraph.adapters.sql.session_directory import page_statement
from subgraph.adapters.sql.tables import SESSION
from subgraph.domain import sessions
from subgraph.domain.access import Caller
from subgraph.domain.ids import SessionId
from subgraph.domain.naming import search_text
from subgraph.domain.new_session import NewSession
from subgraph.domain.session_list import SessionList

ROWS_PER_STATEMENT = 5_000
SESSIONS_PER_OWNER = 1_000


async def seed(database: Database, caller: Caller, size: int, now: datetime) -> None:
    """Fill a database up to a size with sessions that live: many owners, names and times, one in four has ended."""
    (main,) = sessions.create_main(caller.tenant_id, caller.owner_id, now).created
    (template,) = sessions.create(NewSession(details={"circuit": "Spa"}), caller.tenant_id, "", now).created
    async with database.reading() as connection:
        start = await connection.scalar(select(func.count()).select_from(SESSION)) or 0
    if start == 0:
        await _insert(database, [session_values(replace(main, id=SessionId(f"{0:032x}")))])
        start = 1
    common = session_values(template)
    for begin in range(start, size, ROWS_PER_STATEMENT):
        rows = []
        for number in range(begin, min(size, begin + ROWS_PER_STATEMENT)):
            # In no order, as sessions are changed and named.
            shuffled = number * 2_654_435_761 % 2**32
            name = f"name {number:09}"
            rows.append(
                {
                    **common,
                    "id": f"{number:032x}",
                    "owner_id": f"owner {number // SESSIONS_PER_OWNER}",
                    "external_id": f"external {number}",
                    "display_name": name,
                    "unique_name": name,
                    "search_name": search_text(name),
                    "state": "ENDED" if number % 4 == 0 else "ACTIVE",
                    "created_at": now - timedelta(seconds=number),
                    "updated_at": now - timedelta(milliseconds=shuffled),
                    "last_active_at": now - timedelta(milliseconds=shuffled),
                }
            )
        await _insert(database, rows)
    async with database.writing() as connection:
        await connection.execute(text("ANALYZE"))


async def last_cursor_of(database: Database, listed: SessionList, count: int) -> str:
    """The cursor behind the session at a place of a list, which is read through once."""
    statement = page_statement(listed, count, None)
    last = statement.with_only_columns(*statement.selected_columns).offset(max(0, count - 1))
    async with database.reading() as connection:
        rows = (await connection.execute(last)).all()
    return encode_session_cursor(listed.order, session_of(rows[0]))


async def _insert(database: Database, rows: list[dict[str, object]]) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(SESSION), rows)

    await database.write(work)
