"""Owns the hierarchy of sessions in SQL: decided on in the transaction that writes it, and read page by page."""

from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy import ColumnElement, Connection, func, select, tuple_

from subgraph.adapters.sql.cursors import decode_session_cursor, encode_session_cursor
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import is_text, session_of
from subgraph.adapters.sql.session_store import write_change
from subgraph.adapters.sql.sight import is_seen_by
from subgraph.adapters.sql.tables import SESSION, SESSION_ASSOCIATION
from subgraph.domain.errors import NotFound
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.session_list import SessionOrder
from subgraph.domain.sessions import Session, SessionChange, SessionState
from subgraph.domain.sessions.hierarchy import Family
from subgraph.operations.ports import Page
from subgraph.operations.sessions.session_ports import ChangeGuard, unguarded

_ORDER = SessionOrder(is_descending=False)


class SqlSessionHierarchy:
    """The SessionHierarchy port on SQL."""

    def __init__(self, database: Database, guard: ChangeGuard = unguarded) -> None:
        self._database = database
        self._guard = guard

    async def change_family(
        self,
        tenant_id: TenantId,
        parent_id: SessionId,
        associate_ids: Sequence[SessionId],
        decide: Callable[[Family], SessionChange],
    ) -> tuple[Session, SessionChange]:
        """Read a parent and its family, decide, and commit, in one transaction."""

        def work(connection: Connection) -> tuple[Session, SessionChange]:
            family = _family(connection, tenant_id, parent_id, associate_ids)
            change = decide(family)
            write_change(change, connection)
            return family.parent, change

        async with self._guard([(tenant_id, parent_id)]):
            return await self._database.write(work)

    async def relatives(
        self,
        tenant_id: TenantId,
        session_id: SessionId,
        *,
        above: bool,
        owner_id: str | None,
        first: int,
        after: str | None,
    ) -> Page[Session]:
        """The sessions right above or below one, oldest first."""
        own, other = SESSION_ASSOCIATION.c.associate_id, SESSION_ASSOCIATION.c.parent_id
        if not above:
            own, other = other, own
        wanted: list[ColumnElement[bool]] = [
            SESSION.c.id.in_(select(other).where(own == session_id)),
            SESSION.c.tenant_id == tenant_id,
            SESSION.c.state != SessionState.DELETED.value,
            is_seen_by(owner_id),
        ]
        behind = []
        if after is not None:
            behind = [tuple_(SESSION.c.created_at, SESSION.c.id) > tuple_(*decode_session_cursor(_ORDER, after))]
        page = select(SESSION).where(*wanted, *behind).order_by(SESSION.c.created_at, SESSION.c.id).limit(first + 1)
        async with self._database.reading() as connection:
            found = [session_of(row) for row in await connection.execute(page)]
            total = await connection.scalar(select(func.count()).select_from(SESSION).where(*wanted))
        items = tuple(found[:first])
        return Page(items, tuple(map(partial(encode_session_cursor, _ORDER), items)), len(found) > first, total)


def _family(
    connection: Connection, tenant_id: TenantId, parent_id: SessionId, associate_ids: Sequence[SessionId]
) -> Family:
    ids = [one for one in dict.fromkeys([parent_id, *associate_ids]) if is_text(one)]
    there = select(SESSION).where(
        SESSION.c.tenant_id == tenant_id, SESSION.c.id.in_(ids), SESSION.c.state != SessionState.DELETED.value
    )
    members = {SessionId(row.id): session_of(row) for row in connection.execute(there)}
    if parent_id not in members:
        raise NotFound("Session", parent_id, ("parentId",))
    links = SESSION_ASSOCIATION
    above = select(links.c.parent_id).where(links.c.associate_id == parent_id).cte("above", recursive=True)
    # Sessions that were reached come once, so this ends whatever there is.
    above = above.union(select(links.c.parent_id).where(links.c.associate_id == above.c.parent_id))
    ancestors = frozenset(map(SessionId, connection.scalars(select(above.c.parent_id))))
    known = select(links.c.associate_id).where(links.c.parent_id == parent_id, links.c.associate_id.in_(ids))
    associates = frozenset(map(SessionId, connection.scalars(known)))
    return Family(members[parent_id], members, ancestors, associates)
