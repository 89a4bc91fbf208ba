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
    description="One entry of the journal. It stays as long as its session does; of a purged one, only SESSION_PURGED."
)
class SessionEvent:
    """An event."""

    id: strawberry.ID = strawberry.field(description="Names it: the session's id and the sequence.")
    sequence: Long = strawberry.field(
        description=(
            "Counts within the session, from 1. A gap shows what is not kept any more: what comes by itself, after its "
            "retention."
        )
    )
    cursor: str = strawberry.field(
        description="Its place in the order of all commits: as `after`, a page or a stream goes on behind it."
    )
    type: SessionEventType = strawberry.field(description="What happened.")
    session_id: strawberry.ID = strawberry.field(description="The session it is about.")
    actor: strawberry.ID | None = strawberry.field(description="Who asked for it; null where nobody did.")
    agent_id: strawberry.ID | None = strawberry.field(description="The agent it is about, if any.")
    run_id: strawberry.ID | None = strawberry.field(description="The run it is about, if any.")
    message: str | None = strawberry.field(description="What happened, for people, where there is more to say.")
    occurred_at: datetime = strawberry.field(description="When it happened.")
    payload: JSON | None = strawberry.field(description=PAYLOAD)

    @strawberry.field(description="The session as it is now; null if it is gone.")
    async def session(self, info: Info) -> Annotated["Session", strawberry.lazy("subgraph.api.types.session")] | None:
        """The session."""
        from subgraph.api.types.session import to_session

        session = await info.context.session_loader.load(SessionId(str(self.session_id)))
        return to_session(session) if session else None


@strawberry.type(description="An event in a page, with its cursor.")
class SessionEventEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Give it as `after` to continue behind this edge, also in a stream.")
    node: SessionEvent = strawberry.field(description="The event.")


@strawberry.type(description="A page of events, in the order they were committed.")
class SessionEventConnection:
    """Relay's connection."""

    edges: list[SessionEventEdge] = strawberry.field(description="The events of this page.")
    page_info: PageInfo = strawberry.field(description="Where this page lies.")
    total_count: int | None = strawberry.field(description="How many there are in all: exact, or null.")


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
