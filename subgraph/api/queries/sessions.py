"""Owns the queries of sessions."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.scopes import needs
from subgraph.api.types.common import page_size
from subgraph.api.types.session import Session, SessionConnection, session_page, to_session
from subgraph.domain.access import Scope
from subgraph.domain.ids import SessionId


@strawberry.input(description="Which session: by its id.")
class SessionRef:
    """A session reference."""

    id: strawberry.ID = strawberry.field(description="The session's id.")


@strawberry.type
class SessionQueries:
    """Sessions."""

    @strawberry.field(description="One session of the caller's tenant; null if there is none.")
    @needs(Scope.SESSION_READ)
    async def session(self, info: Info, ref: SessionRef) -> Session | None:
        """One session."""
        session = await info.context.session_loader.load(SessionId(str(ref.id)))
        return to_session(session) if session else None

    @strawberry.field(description="The tenant's live world: made on its first contact, and never absent.")
    @needs(Scope.SESSION_READ)
    async def main_session(self, info: Info) -> Session:
        """The main session."""
        return to_session(await info.context.services.sessions.main(info.context.caller))

    @strawberry.field(description="The ACTIVE sessions, of a data source or all, newest first.")
    @needs(Scope.SESSION_READ)
    async def current_sessions(
        self, info: Info, data_source: str | None = None, first: int = 20, after: str | None = None
    ) -> SessionConnection:
        """The active sessions."""
        sessions, caller = info.context.services.sessions, info.context.caller
        return session_page(await sessions.current(caller, data_source, page_size(first), after), after)
