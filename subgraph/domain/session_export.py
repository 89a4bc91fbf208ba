"""Owns what of a session is written in its document, and what is left out of one that is too long."""

from collections.abc import Sequence
from datetime import datetime

import h3
import msgspec

from subgraph.domain.errors import QuotaExceeded
from subgraph.domain.journal import JournalEntry
from subgraph.domain.registration import RegisteredCells
from subgraph.domain.session_document import (
    CELLS_MAX,
    DOCUMENT_BYTES_MAX,
    EVENTS_MAX,
    RELATIVES_MAX,
    CoveragePart,
    EventPart,
    HierarchyPart,
    SessionDocument,
    SessionPart,
)
from subgraph.domain.sessions import Session


def write_document(
    session: Session,
    parent_ids: Sequence[str],
    associate_ids: Sequence[str],
    coverage: Sequence[RegisteredCells],
    entries: Sequence[JournalEntry],
    entry_count: int,
    now: datetime,
) -> dict[str, object]:
    """The document of a session, as JSON's values.

    A journal grows for as long as its session lives: what does not fit is counted, the oldest first, and no reason to
    refuse.

    Args:
        session: the session.
        parent_ids: of its parents.
        associate_ids: of its associates.
        coverage: what is registered of it.
        entries: its newest ones in the journal, in order.
        entry_count: how many it has there.
        now: the moment.

    Raises:
        QuotaExceeded: it is larger than a document may be, without any event; the limit is named.
    """
    _bound("associates in a document", RELATIVES_MAX, len(associate_ids))
    _bound("parents in a document", RELATIVES_MAX, len(parent_ids))
    _bound("cells in a document", CELLS_MAX, sum(part.cells.size for part in coverage))
    document = SessionDocument(
        format="session-manager/session",
        version=1,
        exported_at=now,
        session=_session_part(session),
        hierarchy=HierarchyPart(parent_ids=list(parent_ids), associate_ids=list(associate_ids)),
        coverage=_coverage_parts(coverage),
        events=[],
        events_omitted=entry_count,
    )
    size = len(msgspec.json.encode(document))
    _bound("bytes in a document", DOCUMENT_BYTES_MAX, size)
    events = _newest_events(entries, DOCUMENT_BYTES_MAX - size)
    whole = msgspec.structs.replace(document, events=events, events_omitted=entry_count - len(events))
    written: dict[str, object] = msgspec.to_builtins(whole)
    return written


def _newest_events(entries: Sequence[JournalEntry], bytes_max: int) -> list[EventPart]:
    """Those that fit in so many bytes of JSON, in order."""
    newest: list[EventPart] = []
    for entry in reversed(entries[-EVENTS_MAX:]):
        part = _event_part(entry)
        # With the comma before it.
        bytes_max -= len(msgspec.json.encode(part)) + 1
        if bytes_max < 0:
            break
        newest.append(part)
    return newest[::-1]


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
