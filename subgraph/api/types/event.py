"""Owns SessionEvent in GraphQL: an entry of the journal, and pages of them."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import strawberry
from strawberry.scalars import JSON

from subgraph.api.context import Info
from subgraph.api.scalars import Long
from subgraph.api.types.common import PageInfo, page_info
from subgraph.api.types.event_types import PAYLOAD
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import JournalEntry, SessionEventType
from subgraph.domain.journal_cursor import encode_position
from subgraph.operations.ports import Page

if TYPE_CHECKING:
    from subgraph.api.types.session import Session


@strawberry.type(
    description=(
        "An entry of the journal. It is kept as long as its session; of a purged session, only its stops and "
        "SESSION_PURGED are kept."
    )
)
class SessionEvent:
    """An event."""

    id: strawberry.ID = strawberry.field(description="Unique id, made of the session's id and `sequence`.")
    sequence: Long = strawberry.field(
        description=(
            "Number of the event within its session, from 1. Gaps are events that were deleted after their retention."
        )
    )
    cursor: str = strawberry.field(
        description=(
            "Position in the commit order of the journal: pass it as `after` to continue a page or a stream from here."
        )
    )
    type: SessionEventType = strawberry.field(description="The event's type.")
    session_id: strawberry.ID = strawberry.field(description="Id of the session it concerns.")
    actor: strawberry.ID | None = strawberry.field(description="Id of the caller who caused it; null if nobody did.")
    agent_id: strawberry.ID | None = strawberry.field(description="Id of the agent it concerns; null if none.")
    run_id: strawberry.ID | None = strawberry.field(description="Id of the run it concerns; null if none.")
    message: str | None = strawberry.field(description="Human-readable message; null if the type says it all.")
    occurred_at: datetime = strawberry.field(description="When it happened.")
    payload: JSON | None = strawberry.field(description=PAYLOAD)

    @strawberry.field(description="The session in its current state; null once it has been purged.")
    async def session(self, info: Info) -> Annotated["Session", strawberry.lazy("subgraph.api.types.session")] | None:
        """The session."""
        from subgraph.api.types.session import to_session

        session = await info.context.session_loader.load(SessionId(str(self.session_id)))
        return to_session(session) if session else None


@strawberry.type(description="An event with its cursor (Relay edge).")
class SessionEventEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(
        description="Cursor of this edge: pass it as `after` to continue from here, in a page or a stream."
    )
    node: SessionEvent = strawberry.field(description="The event.")


@strawberry.type(description="A page of events, in commit order (Relay connection).")
class SessionEventConnection:
    """Relay's connection."""

    edges: list[SessionEventEdge] = strawberry.field(description="Edges of this page.")
    page_info: PageInfo = strawberry.field(description="Cursors of this page, and whether there are more.")
    total_count: int | None = strawberry.field(
        description="Number of items in the whole list, exact; null if it is not counted."
    )


def to_event(entry: JournalEntry) -> SessionEvent:
    """An entry as GraphQL shows it."""
    event = entry.event
    return SessionEvent(
        id=strawberry.ID(entry.id),
        sequence=Long(entry.sequence),
        cursor=encode_position(entry.position),
        type=event.type,
        session_id=strawberry.ID(event.session_id),
        actor=_id(event.actor),
        agent_id=_id(event.agent_id),
        run_id=_id(event.run_id),
        message=event.message,
        occurred_at=event.occurred_at,
        payload=None if event.payload is None else JSON(event.payload),
    )


def event_page(page: Page[JournalEntry], after: str | None) -> SessionEventConnection:
    """A page of entries as GraphQL shows it."""
    edges = [
        SessionEventEdge(cursor=cursor, node=to_event(entry))
        for cursor, entry in zip(page.cursors, page.items, strict=True)
    ]
    return SessionEventConnection(
        edges=edges, page_info=page_info(page.cursors, page.has_next, after is not None), total_count=page.total_count
    )


def _id(text: str | None) -> strawberry.ID | None:
    return None if text is None else strawberry.ID(text)
