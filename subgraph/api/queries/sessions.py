"""Owns the queries of sessions."""

from typing import Annotated

import strawberry

from subgraph.api.arguments import PAGE_SIZE, After, PageSize, page_size
from subgraph.api.context import Info
from subgraph.api.inputs.session_list import SessionFilter, SessionOrder, SessionRef
from subgraph.api.scopes import needs
from subgraph.api.types.session import Session, SessionConnection, session_page, to_session
from subgraph.domain import session_list
from subgraph.domain.access import Scope
from subgraph.domain.limits import check_chosen
from subgraph.domain.sessions import SessionState

DataSource = Annotated[
    str | None, strawberry.argument(description="Only sessions of exactly this data source; null: of any, or none.")
]


@strawberry.type
class SessionQueries:
    """Sessions."""

    @strawberry.field(
        description=(
            "One session of the caller's tenant; null if there is none, and with the error SESSION_EXPIRED if its time "
            "has run out."
        )
    )
    @needs(Scope.SESSION_READ)
    async def session(self, info: Info, ref: SessionRef) -> Session | None:
        """One session."""
        session = await info.context.services.session_lookup.one(info.context.caller, ref.to_ref())
        return to_session(session) if session else None

    @strawberry.field(
        description=(
            "The tenant's live world: made on its first contact, and never absent; but DISABLED if there was no "
            "contact before session management was switched off."
        )
    )
    @needs(Scope.SESSION_READ)
    async def main_session(self, info: Info) -> Session:
        """The main session."""
        return to_session(await info.context.services.sessions.main(info.context.caller))

    @strawberry.field(description="The ACTIVE sessions, of a data source or all, newest first. `first` is at most 100.")
    @needs(Scope.SESSION_READ)
    async def current_sessions(
        self, info: Info, data_source: DataSource = None, first: PageSize = PAGE_SIZE, after: After = None
    ) -> SessionConnection:
        """The active sessions."""
        check_chosen("dataSource", data_source, ("dataSource",))
        wanted = session_list.SessionFilter(states=frozenset({SessionState.ACTIVE}), data_source=data_source)
        return await _page(info, wanted, session_list.SessionOrder(), first, after)

    @strawberry.field(
        description=(
            "Sessions of the tenant: all of them with tenant:read, else the caller's own. Pages hold still while "
            "sessions come and go; a cursor is good for the order it is of. `first` is at most 100. `totalCount` is "
            "counted only where it is asked for, and null beyond 10,000."
        )
    )
    @needs(Scope.SESSION_READ)
    async def sessions(
        self,
        info: Info,
        filter: SessionFilter | None = None,
        order_by: SessionOrder | None = None,
        first: PageSize = PAGE_SIZE,
        after: After = None,
    ) -> SessionConnection:
        """Sessions."""
        wanted = (filter or SessionFilter()).to_filter()
        return await _page(info, wanted, (order_by or SessionOrder()).to_order(), first, after)


async def _page(
    info: Info,
    wanted: session_list.SessionFilter,
    order: session_list.SessionOrder,
    first: int | None,
    after: str | None,
) -> SessionConnection:
    lookup = info.context.services.session_lookup
    listed = await lookup.listed(info.context.caller, wanted, order)
    page = await lookup.page(listed, page_size(first, PAGE_SIZE), after)
    return session_page(page, after, lambda: lookup.count(listed))
