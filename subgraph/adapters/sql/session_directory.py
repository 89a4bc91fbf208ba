"""Owns how sessions are found in SQL by what they bear, and listed page by page from an index.

A list is read state by state, because each state's sessions lie in the index in the order of the list: a page costs the
same wherever it is, and what is not listed is not passed over.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)

from subgraph.adapters.sql.cursors import decode_session_cursor, encode_session_cursor
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import detail_texts, is_text, session_of
from subgraph.adapters.sql.tables import SESSION
from subgraph.adapters.sql.text_search import contains
from subgraph.adapters.sql.visibility import is_seen_by
from subgraph.domain.ids import TenantId
from subgraph.domain.session_list import SessionList, SessionOrder, SessionOrderField
from subgraph.domain.session_ref import RefKind
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.ports import Page

NAMES_PER_QUERY = 10_000
"""All numbers that a taken name may get: fewer than the parameters that any of the databases takes."""

_COLUMN_OF_ORDER = {
    SessionOrderField.CREATED_AT: SESSION.c.created_at,
    SessionOrderField.UPDATED_AT: SESSION.c.updated_at,
    SessionOrderField.LAST_ACTIVE_AT: SESSION.c.last_active_at,
    SessionOrderField.DISPLAY_NAME: SESSION.c.display_name,
}
_COLUMN_OF_REF = {RefKind.EXTERNAL_ID: SESSION.c.external_id, RefKind.DISPLAY_NAME: SESSION.c.display_name}
_IS_UNDELETED = SESSION.c.state.in_([state.value for state in SessionState if state is not SessionState.DELETED])
_IS_THERE = {RefKind.EXTERNAL_ID: SESSION.c.deleted_at.is_(None), RefKind.DISPLAY_NAME: _IS_UNDELETED}
"""Not deleted, as the index says it in which a session is sought."""


class SqlSessionDirectory:
    """The port SessionDirectory on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def bearing(
        self, tenant_id: TenantId, kind: RefKind, text: str, owner_id: str | None, limit: int
    ) -> list[Session]:
        """The undeleted sessions that bear an external id or a name; of an owner and `main`, or of all."""
        if not is_text(text):
            return []
        wanted = select(SESSION).where(
            SESSION.c.tenant_id == tenant_id, _COLUMN_OF_REF[kind] == text, _IS_THERE[kind], is_seen_by(owner_id)
        )
        first = wanted.order_by(SESSION.c.created_at, SESSION.c.id).limit(limit)
        return await self._database.read(lambda it: [session_of(row) for row in it.execute(first)])

    async def taken_names(self, tenant_id: TenantId, names: Sequence[str]) -> set[str]:
        """Those of the names that undeleted sessions bear."""
        found = select(SESSION.c.display_name).where(SESSION.c.tenant_id == tenant_id, _IS_UNDELETED)

        def read(connection: Connection) -> set[str]:
            taken: set[str] = set()
            for start in range(0, len(names), NAMES_PER_QUERY):
                some = [name for name in names[start : start + NAMES_PER_QUERY] if is_text(name)]
                taken.update(connection.scalars(found.where(SESSION.c.display_name.in_(some))))
            return taken

        return await self._database.read(read)

    async def page(self, wanted: SessionList, first: int, after: str | None) -> Page[Session]:
        """A page of a list, by keyset. `total_count` is None: `count` counts."""
        if not _can_match(wanted):
            return Page((), (), False, None)
        page = page_statement(wanted, first + 1, after)
        found = await self._database.read(lambda it: [session_of(row) for row in it.execute(page)])
        items = tuple(found[:first])
        cursors = tuple(encode_session_cursor(wanted.order, item) for item in items)
        return Page(items, cursors, len(found) > first, None)

    async def count(self, wanted: SessionList, most: int) -> int | None:
        """How many sessions a list holds; None where it is more than `most`."""
        if not _can_match(wanted):
            return 0
        branches = [select(SESSION.c.id).where(*branch).limit(most + 1) for branch in _branches(wanted)]
        counted = union_all(*(select(branch.subquery()) for branch in branches)).subquery()
        total = await self._database.read(lambda it: it.scalar(select(func.count()).select_from(counted)))
        return None if total is None or total > most else total


def _can_match(wanted: SessionList) -> bool:
    # No database has ever taken such a text, and PostgreSQL does not even compare with it.
    sought = (wanted.owner_id, wanted.data_source, wanted.type, wanted.name_contains, *(wanted.detail or ()))
    return all(text is None or is_text(text) for text in sought)


def page_statement(wanted: SessionList, limit: int, after: str | None) -> Select[tuple[object, ...]]:
    """The statement that reads a page.

    Raises:
        InvalidInput: `after` is no cursor of a list in this order.
    """
    behind = () if after is None else (_behind(wanted.order, *decode_session_cursor(wanted.order, after)),)
    branches = [
        _ordered(select(SESSION).where(*branch, *behind), wanted.order).limit(limit) for branch in _branches(wanted)
    ]
    if len(branches) == 1:
        return branches[0]
    merged: CompoundSelect[tuple[object, ...]] = union_all(*(select(branch.subquery()) for branch in branches))
    rows = merged.subquery()
    column, row_id = rows.c[_COLUMN_OF_ORDER[wanted.order.field].name], rows.c.id
    order = (column.desc(), row_id.desc()) if wanted.order.is_descending else (column, row_id)
    return select(rows).order_by(*order).limit(limit)


def ids_statement(wanted: SessionList) -> Select[tuple[str]]:
    """The statement that reads the ids of all sessions of a list."""
    return select(SESSION.c.id).where(or_(*(and_(*branch) for branch in _branches(wanted))))


def _ordered(statement: Select[tuple[object, ...]], order: SessionOrder) -> Select[tuple[object, ...]]:
    column = _COLUMN_OF_ORDER[order.field]
    # Ties are broken in the same direction, so that one index is read forwards or backwards.
    if order.is_descending:
        return statement.order_by(column.desc(), SESSION.c.id.desc())
    return statement.order_by(column, SESSION.c.id)


def _behind(order: SessionOrder, value: datetime | str, session_id: str) -> ColumnElement[bool]:
    column = _COLUMN_OF_ORDER[order.field]
    place = tuple_(literal(value, column.type), literal(session_id))
    here = tuple_(column, SESSION.c.id)
    return here < place if order.is_descending else here > place


def _branches(wanted: SessionList) -> list[list[ColumnElement[bool]]]:
    common = _conditions(wanted)
    return [[*common, *branch] for branch in _states(wanted)]


def _states(wanted: SessionList) -> list[list[ColumnElement[bool]]]:
    """The rows of each state as of now: of those stored as ACTIVE, some have expired before the sweep came by."""
    lives = or_(SESSION.c.expires_at.is_(None), SESSION.c.expires_at > wanted.now)
    branches = [[_is(state)] for state in SessionState if state in wanted.states - {SessionState.ACTIVE}]
    match SessionState.ACTIVE in wanted.states, SessionState.EXPIRED in wanted.states:
        case True, True:
            branches.append([_is(SessionState.ACTIVE)])
        case True, False:
            branches.append([_is(SessionState.ACTIVE), lives])
        case False, True:
            branches.append([_is(SessionState.ACTIVE), SESSION.c.expires_at <= wanted.now])
    return branches


def _is(state: SessionState) -> ColumnElement[bool]:
    stored: ColumnElement[bool] = SESSION.c.state == state.value
    return stored


def _conditions(wanted: SessionList) -> list[ColumnElement[bool]]:
    conditions = [SESSION.c.tenant_id == wanted.tenant_id]
    for column, value in (
        (SESSION.c.owner_id, wanted.owner_id),
        (SESSION.c.data_source, wanted.data_source),
        (SESSION.c.type, wanted.type),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.name_contains is not None:
        conditions.append(contains(SESSION.c.search_name, wanted.name_contains))
    if wanted.detail is not None:
        conditions.append(or_(*(contains(SESSION.c.details_json, text) for text in detail_texts(*wanted.detail))))
    if wanted.active_since is not None:
        conditions.append(SESSION.c.last_active_at >= wanted.active_since)
    if wanted.created_after is not None:
        conditions.append(SESSION.c.created_at >= wanted.created_after)
    if wanted.created_before is not None:
        conditions.append(SESSION.c.created_at < wanted.created_before)
    return conditions
