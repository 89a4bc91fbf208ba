"""Owns the document in which a session leaves one place and comes to another: its fields, its limits, its version.

It holds what was told, decided and registered of the session, and no secret. What a later version adds comes with
another number, so that nobody reads half of a document.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Literal

import h3
import msgspec

from subgraph.domain.errors import QuotaExceeded
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.journal import JournalEntry, SessionEventType
from subgraph.domain.registration import RegisteredCells
from subgraph.domain.sessions import Session, SessionState

FORMAT = "session-manager/session"
VERSION = 1

CELLS_MAX = 100_000
EVENTS_MAX = 5_000
RELATIVES_MAX = 1_000
"""Parents that a document names, and associates."""
DOCUMENT_BYTES_MAX = 4_000_000
"""As JSON: a document comes in a request, with room for what is around it."""


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    pass


class SessionPart(_Part, frozen=True):
    """The session itself. Times, state, revision, owner and tenant are those of where it comes from."""

    id: str
    tenant_id: str
    owner_id: str
    display_name: str
    external_id: str | None
    title: str | None
    is_main: bool
    state: SessionState
    revision: int
    data_source: str | None
    type: str
    version: int
    utc_offset: timedelta
    details: dict[str, str]
    metadata: dict[str, Any]
    context: dict[str, Any]
    required_labels: dict[str, str]
    created_at: datetime
    updated_at: datetime
    last_active_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    expiry_policy: ExpiryPolicy
    ttl: timedelta | None
    max_history: int
    token_budget: int | None
    tick_interval: timedelta | None
    copied_from_id: str | None


class HierarchyPart(_Part, frozen=True):
    """Which sessions are above and below it, by their ids; they are not in the document."""

    parent_ids: list[str]
    associate_ids: list[str]


class CoveragePart(_Part, frozen=True):
    """Cells that were registered alike."""

    cells: list[str]
    tile_capacity: float | None
    required_labels: dict[str, str]


class EventPart(_Part, frozen=True):
    """What its journal tells, in order."""

    sequence: int
    type: SessionEventType
    actor: str | None
    agent_id: str | None
    run_id: str | None
    occurred_at: datetime
    data_source: str | None
    message: str | None
    payload: dict[str, Any] | None


class SessionDocument(_Part, frozen=True):
    """A session as it was at one moment."""

    format: Literal["session-manager/session"]
    version: Literal[1]
    exported_at: datetime
    session: SessionPart
    hierarchy: HierarchyPart
    coverage: list[CoveragePart]
    events: list[EventPart]


def write_document(
    session: Session,
    parent_ids: Sequence[str],
    associate_ids: Sequence[str],
    coverage: Sequence[RegisteredCells],
    entries: Sequence[JournalEntry],
    now: datetime,
) -> dict[str, object]:
    """The document of a session, as JSON's values.

    Raises:
        QuotaExceeded: it is larger than a document may be; the limit is named.
    """
    _bound("associates in a document", RELATIVES_MAX, len(associate_ids))
    _bound("parents in a document", RELATIVES_MAX, len(parent_ids))
    _bound("cells in a document", CELLS_MAX, sum(part.cells.size for part in coverage))
    _bound("events in a document", EVENTS_MAX, len(entries))
    document = SessionDocument(
        format="session-manager/session",
        version=1,
        exported_at=now,
        session=_session_part(session),
        hierarchy=HierarchyPart(parent_ids=list(parent_ids), associate_ids=list(associate_ids)),
        coverage=_coverage_parts(coverage),
        events=[_event_part(entry) for entry in entries],
    )
    written: dict[str, object] = msgspec.to_builtins(document)
    _bound("bytes in a document", DOCUMENT_BYTES_MAX, len(msgspec.json.encode(written)))
    return written


def _bound(what: str, limit: int, count: int) -> None:
    if count > limit:
        raise QuotaExceeded(what, limit, count, ("id",))


def _session_part(session: Session) -> SessionPart:
    return SessionPart(
        id=session.id,
        tenant_id=session.tenant_id,
        owner_id=session.owner_id,
        display_name=session.display_name,
        external_id=session.external_id,
        title=session.title,
        is_main=session.is_main,
        state=session.state,
        revision=session.revision,
        data_source=session.data_source,
        type=session.type,
        version=session.version,
        utc_offset=session.utc_offset,
        details=dict(session.details),
        metadata=dict(session.metadata),
        context=dict(session.context),
        required_labels=dict(session.required_labels),
        created_at=session.created_at,
        updated_at=session.updated_at,
        last_active_at=session.last_active_at,
        expires_at=session.expires_at,
        ended_at=session.ended_at,
        expiry_policy=session.expiry_policy,
        ttl=session.ttl,
        max_history=session.max_history,
        token_budget=session.token_budget,
        tick_interval=session.tick_interval,
        copied_from_id=session.copied_from,
    )


def _coverage_parts(coverage: Sequence[RegisteredCells]) -> list[CoveragePart]:
    # One part for all that begin alike, in one order: how often something was registered makes no other document.
    alike: dict[str, tuple[RegisteredCells, list[int]]] = {}
    for part in coverage:
        template = msgspec.json.encode(part.template, order="deterministic").decode()
        alike.setdefault(template, (part, []))[1].extend(part.cells.tolist())
    return [
        CoveragePart(
            cells=[h3.int_to_str(cell) for cell in sorted(cells)],
            tile_capacity=part.template.capacity,
            required_labels=dict(part.template.required),
        )
        for _, (part, cells) in sorted(alike.items())
    ]


def _event_part(entry: JournalEntry) -> EventPart:
    event = entry.event
    return EventPart(
        sequence=entry.sequence,
        type=event.type,
        actor=event.actor,
        agent_id=event.agent_id,
        run_id=event.run_id,
        occurred_at=event.occurred_at,
        data_source=event.data_source,
        message=event.message,
        payload=None if event.payload is None else dict(event.payload),
    )
