"""Owns the hierarchy of sessions in SQL: checked in the transaction that writes it, and read in pages."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, tuple_

from subgraph.adapters.sql.cursors import decode_session_cursor, encode_session_cursor
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import is_text, session_of
from subgraph.adapters.sql.session_store import write_change
from subgraph.adapters.sql.tables import SESSION, SESSION_ASSOCIATION
from subgraph.adapters.sql.visibility import is_seen_by
from subgraph.domain.errors import NotFound
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.session_list import SessionOrder
from subgraph.domain.sessions import Session, SessionChange, SessionState
from subgraph.domain.sessions.hierarchy import Family
from subgraph.operations.ports import Page
from subgraph.operations.sessions.session_ports import ChangeGuard, RelativesWanted, unguarded

SESSIONS_PER_QUERY = 500

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
        self, tenant_id: TenantId, session_ids: Sequence[SessionId], wanted: RelativesWanted
    ) -> dict[SessionId, Page[Session]]:
        """The sessions right above or below each of some, oldest first, by one statement for many of these."""
        own, theirs = _ends(wanted.above)
        conditions = _conditions(tenant_id, wanted.owner_id)
        if wanted.after is not None:
            place = tuple_(*decode_session_cursor(_ORDER, wanted.after))
            conditions.append(tuple_(SESSION.c.created_at, SESSION.c.id) > place)
        nth = func.row_number().over(partition_by=own, order_by=(SESSION.c.created_at, SESSION.c.id))
        found: defaultdict[str, list[Session]] = defaultdict(list)
        for some in _parts(session_ids):
            # What is large in a session is read of those alone that are in a page.
            places = (
                select(own.label("own_id"), SESSION.c.id.label("relative"), nth.label("nth"))
                .join(SESSION, SESSION.c.id == theirs)
                .where(own.in_(some), *conditions)
                .subquery()
            )
            page = (
                select(SESSION, places.c.own_id)
                .join(places, places.c.relative == SESSION.c.id)
                .where(places.c.nth <= wanted.first + 1)
                .order_by(places.c.own_id, places.c.nth)
            )
            for session_id, session in await self._database.read(partial(_read_page, page)):
                found[session_id].append(session)
        return {session_id: _page(found[session_id], wanted.first) for session_id in session_ids}

    async def count_relatives(
        self, tenant_id: TenantId, session_ids: Sequence[SessionId], *, above: bool, owner_id: str | None
    ) -> dict[SessionId, int]:
        """How many sessions are right above or below each of some, by one statement for many of these."""
        own, theirs = _ends(above)
        counts: dict[SessionId, int] = dict.fromkeys(session_ids, 0)
        for some in _parts(session_ids):
            counted = (
                select(own, func.count())
                .join(SESSION, SESSION.c.id == theirs)
                .where(own.in_(some), *_conditions(tenant_id, owner_id))
                .group_by(own)
            )
            counts |= await self._database.read(partial(_read_counts, counted))
        return counts


def _ends(above: bool) -> tuple[ColumnElement[str], ColumnElement[str]]:
    """Of an association, the end of whom relatives are wanted, and theirs."""
    own, theirs = SESSION_ASSOCIATION.c.associate_id, SESSION_ASSOCIATION.c.parent_id
    return (own, theirs) if above else (theirs, own)


def _conditions(tenant_id: TenantId, owner_id: str | None) -> list[ColumnElement[bool]]:
    return [
        SESSION.c.tenant_id == tenant_id,
        SESSION.c.state != SessionState.DELETED.value,
        is_seen_by(owner_id),
    ]


def _parts(session_ids: Sequence[SessionId]) -> Iterator[list[SessionId]]:
    wanted = [one for one in dict.fromkeys(session_ids) if is_text(one)]
    return (wanted[start : start + SESSIONS_PER_QUERY] for start in range(0, len(wanted), SESSIONS_PER_QUERY))


def _read_page(statement: Select[Any], connection: Connection) -> list[tuple[SessionId, Session]]:
    return [(SessionId(row.own_id), session_of(row)) for row in connection.execute(statement)]


def _read_counts(statement: Select[str, int], connection: Connection) -> dict[SessionId, int]:
    return {SessionId(session_id): count for session_id, count in connection.execute(statement)}


def _page(found: Sequence[Session], first: int) -> Page[Session]:
    items = tuple(found[:first])
    return Page(items, tuple(map(partial(encode_session_cursor, _ORDER), items)), len(found) > first, None)


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
