"""Owns the journal's entries: what a change tells of a session, and where it stands in the journal once it is kept.

A change says what happened; the store numbers it when it commits. So a change may tell several things, and who appends
a message, a tick or a tile's new owner is in nobody's way.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from subgraph.domain.event_types import SessionEventType, check_payload
from subgraph.domain.ids import SessionId, TenantId

__all__ = [
    "COME_BY_THEMSELVES",
    "STOPS",
    "EventSubject",
    "JournalEntry",
    "SessionEvent",
    "SessionEventType",
    "changes_labels",
    "event_of",
    "starts",
    "stops",
]


COME_BY_THEMSELVES = frozenset(
    {
        SessionEventType.SESSION_TICK,
        SessionEventType.TILES_REASSIGNED,
        SessionEventType.TILE_HEALTH_CHANGED,
        SessionEventType.TILE_SPLIT,
        SessionEventType.TILES_MERGED,
    }
)
"""What nobody asks for, and what comes for as long as a session lives: it is kept for a time only."""
STARTS = frozenset(
    {SessionEventType.SESSION_STARTED, SessionEventType.SESSION_REVIVED, SessionEventType.SESSION_RESTORED}
)
"""Events that may tell of a start; `starts` says which do."""
STOPS = frozenset({SessionEventType.SESSION_ENDED, SessionEventType.SESSION_EXPIRED, SessionEventType.SESSION_DELETED})
"""Events that may tell of a stop; `stops` says which do.

They outlive a purge, beside what it tells itself: so a reader, however far behind, is told of each stop once.
"""


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One thing that happened to a session. `actor` is None where nobody asked for it; times are UTC.

    Whose session it is stands in the event itself: who may see it is decided without the session, which may be gone.
    """

    tenant_id: TenantId
    session_id: SessionId
    owner_id: str
    type: SessionEventType
    actor: str | None
    occurred_at: datetime
    data_source: str | None
    message: str | None = None
    payload: Mapping[str, object] | None = None
    agent_id: str | None = None
    run_id: str | None = None

    @property
    def is_main(self) -> bool:
        """Never: among all of a tenant's events, those of its main session are their owner's, like any other's."""
        return False


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An event that is kept. `position`: in the order of all commits. `sequence`: within its session, from 1."""

    position: int
    sequence: int
    event: SessionEvent

    @property
    def id(self) -> str:
        """The entry's name: the session's id and the sequence."""
        return f"{self.event.session_id}/{self.sequence}"


def starts(event: SessionEvent) -> bool:
    """Whether a session takes work from here on that did not before.

    Of a restored one the payload says in which `state` it comes back.
    """
    if event.type is SessionEventType.SESSION_RESTORED:
        return (event.payload or {}).get("state") == "ACTIVE"
    return event.type in STARTS


def stops(event: SessionEvent) -> bool:
    """Whether a session takes no work from here on that did before: so of one that is ended, then deleted, only once.

    Of a deleted one the payload says of which `formerState` it was.
    """
    if event.type is SessionEventType.SESSION_DELETED:
        return (event.payload or {}).get("formerState") == "ACTIVE"
    return event.type in STOPS


def changes_labels(event: SessionEvent) -> bool:
    """Whether a session's tiles require other labels from here on. The payload of an update says what was changed."""
    fields = (event.payload or {}).get("fields")
    is_update = event.type is SessionEventType.SESSION_UPDATED
    return is_update and isinstance(fields, Sequence) and "requiredLabels" in fields


class EventSubject(Protocol):
    """The fields of a session that its events contain."""

    @property
    def id(self) -> SessionId:
        """Its id."""
        ...

    @property
    def tenant_id(self) -> TenantId:
        """Its tenant."""
        ...

    @property
    def owner_id(self) -> str:
        """Whose it is."""
        ...

    @property
    def data_source(self) -> str | None:
        """Its data source, after the change."""
        ...


def event_of(
    session: EventSubject,
    event_type: SessionEventType,
    actor: str | None,
    now: datetime,
    *,
    message: str | None = None,
    payload: Mapping[str, object] | None = None,
    agent_id: str | None = None,
    run_id: str | None = None,
) -> SessionEvent:
    """Make an event of a session, to be committed with a change. `session` is as it is after the change.

    Raises:
        ValueError: the payload has a field that events of this type do not have.
    """
    if payload is not None:
        check_payload(event_type, payload)
    return SessionEvent(
        tenant_id=session.tenant_id,
        session_id=session.id,
        owner_id=session.owner_id,
        type=event_type,
        actor=actor,
        occurred_at=now,
        data_source=session.data_source,
        message=message,
        payload=payload,
        agent_id=agent_id,
        run_id=run_id,
    )
