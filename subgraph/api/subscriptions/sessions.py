"""Owns the subscriptions of sessions: their starts and stops, and all events of the journal."""

from collections.abc import AsyncIterator
from typing import Annotated

import strawberry

from subgraph.api.arguments import EventTypes
from subgraph.api.context import Info
from subgraph.api.scopes import needs
from subgraph.api.types.event import SessionEvent, to_event
from subgraph.api.types.session import SessionNotification
from subgraph.domain import journal
from subgraph.domain.access import Scope
from subgraph.domain.ids import SessionId
from subgraph.operations.journal.session_events import EventsWanted

DataSource = Annotated[str, strawberry.argument(description="Exactly this data source, 1 to 200 characters.")]


@strawberry.type
class SessionSubscriptions:
    """Sessions."""

    @strawberry.subscription(
        description=(
            "Sessions of exactly this data source that start, from now on, of those the caller may see; also those "
            "that are revived, or restored as ACTIVE."
        )
    )
    @needs(Scope.SESSION_READ)
    async def session_started(self, info: Info, data_source: DataSource) -> AsyncIterator[SessionNotification]:
        """Starts."""
        async for event in info.context.services.session_events.starts(info.context.caller, data_source):
            yield _notification(event)

    @strawberry.subscription(
        description=(
            "Sessions of exactly this data source that stop, from now on, of those the caller may see: ended, expired "
            "or deleted. Each stop is sent once."
        )
    )
    @needs(Scope.SESSION_READ)
    async def session_stopped(self, info: Info, data_source: DataSource) -> AsyncIterator[SessionNotification]:
        """Stops."""
        async for event in info.context.services.session_events.stops(info.context.caller, data_source):
            yield _notification(event)

    @strawberry.subscription(
        description=(
            "Events of a session, of a data source, or of all sessions the caller may see; of some types, or all. "
            "Without `after` from now on; with the cursor of an event, from a page or a stream, all that followed it, "
            "and then new ones: without gaps or repeats, at whichever server, and whatever was restarted meanwhile. "
            "INVALID_INPUT if the cursor is not one of this journal. Events that nobody caused (SESSION_TICK, "
            "TILES_REASSIGNED, TILE_HEALTH_CHANGED, TILE_SPLIT, TILES_MERGED) are deleted after a retention, 30 days "
            "by default: an older cursor continues with what is left, and a gap in `sequence` shows it."
        )
    )
    @needs(Scope.SESSION_READ)
    async def session_events(
        self,
        info: Info,
        session_id: Annotated[
            strawberry.ID | None, strawberry.argument(description="Of this session; null: of all the caller may see.")
        ] = None,
        data_source: Annotated[
            str | None,
            strawberry.argument(
                description="Of sessions of exactly this data source; null: of all sessions, also those without one."
            ),
        ] = None,
        types: EventTypes = None,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="The cursor of an event: all that followed it, and then what comes. Null: from now on."
            ),
        ] = None,
    ) -> AsyncIterator[SessionEvent]:
        """Events."""
        wanted = EventsWanted(
            None if session_id is None else SessionId(str(session_id)),
            data_source,
            None if types is None else frozenset(types),
        )
        async for entry in info.context.services.session_events.follow(info.context.caller, wanted, after):
            yield to_event(entry)


def _notification(event: journal.SessionEvent) -> SessionNotification:
    return SessionNotification(
        session_key=strawberry.ID(event.session_id), data_source=event.data_source, occurred_at=event.occurred_at
    )
