"""Owns the mapping between domain values and table rows, in both directions."""

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.fleet.terms import TermChange, TermFacts
from subgraph.domain.ids import PodId, SessionId, TenantId, parse_tile_id, tile_id
from subgraph.domain.journal import JournalEntry, SessionEvent, SessionEventType
from subgraph.domain.naming import search_text
from subgraph.domain.ownership import AssignmentReason, AssignmentState, Term
from subgraph.domain.sessions import Session, SessionState

_MICROSECOND = timedelta(microseconds=1)


def session_values(session: Session) -> dict[str, object]:
    """The columns of a session."""
    return {
        "id": session.id,
        "tenant_id": session.tenant_id,
        "owner_id": session.owner_id,
        "display_name": session.display_name,
        "is_main": session.is_main,
        "state": session.state.value,
        "revision": session.revision,
        "data_source": session.data_source,
        "type": session.type,
        "version": session.version,
        "utc_offset_microseconds": session.utc_offset // _MICROSECOND,
        "details_json": _json(session.details),
        "metadata_json": _json(session.metadata),
        "required_labels_json": _json(session.required_labels),
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "ended_at": session.ended_at,
        "external_id": session.external_id,
        "title": session.title,
        "last_active_at": session.last_active_at,
        "expiry_policy": session.expiry_policy.value,
        "ttl_microseconds": _microseconds(session.ttl),
        "expires_at": session.expires_at,
        "stopped_at": session.stopped_at,
        "deleted_at": session.deleted_at,
        "deleted_by": session.deleted_by,
        "copied_from": session.copied_from,
        "context_json": _json(session.context),
        "max_history": session.max_history,
        "token_budget": session.token_budget,
        "tick_interval_microseconds": _microseconds(session.tick_interval),
        "unique_name": session.display_name if session.holds_name and session.deleted_at is None else None,
        "search_name": search_text(session.display_name),
    }


def session_of(row: Row[Any]) -> Session:
    """The session of a row of all the session's columns."""
    return Session(
        id=SessionId(row.id),
        tenant_id=TenantId(row.tenant_id),
        owner_id=row.owner_id,
        display_name=row.display_name,
        is_main=row.is_main,
        state=SessionState(row.state),
        revision=row.revision,
        data_source=row.data_source,
        type=row.type,
        version=row.version,
        utc_offset=timedelta(microseconds=row.utc_offset_microseconds),
        details=json.loads(row.details_json),
        metadata=json.loads(row.metadata_json),
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
        required_labels=json.loads(row.required_labels_json),
        external_id=row.external_id,
        title=row.title,
        last_active_at=row.last_active_at,
        expiry_policy=ExpiryPolicy(row.expiry_policy),
        ttl=_duration(row.ttl_microseconds),
        expires_at=row.expires_at,
        stopped_at=row.stopped_at,
        deleted_at=row.deleted_at,
        deleted_by=row.deleted_by,
        copied_from=None if row.copied_from is None else SessionId(row.copied_from),
        context=json.loads(row.context_json),
        max_history=row.max_history,
        token_budget=row.token_budget,
        tick_interval=_duration(row.tick_interval_microseconds),
        holds_name=row.unique_name is not None or row.deleted_at is not None,
    )


def event_values(event: SessionEvent, sequence: int) -> dict[str, object]:
    """The columns of a journal entry that was not relayed yet; its position is the database's to give."""
    return {
        "tenant_id": event.tenant_id,
        "session_id": event.session_id,
        "owner_id": event.owner_id,
        "sequence": sequence,
        "type": event.type.value,
        "actor": event.actor,
        "agent_id": event.agent_id,
        "run_id": event.run_id,
        "occurred_at": event.occurred_at,
        "data_source": event.data_source,
        "message": event.message,
        "payload_json": None if event.payload is None else payload_text(event.payload),
        "relayed_at": None,
    }


def payload_text(payload: Mapping[str, object]) -> str:
    """An event's facts as they are stored."""
    return _json(payload)


def payload_of(stored: str | None) -> dict[str, object] | None:
    """An event's facts as they were told; None if there are none."""
    return None if stored is None else json.loads(stored)


def entry_of(row: Row[Any]) -> JournalEntry:
    """The journal entry of a row of all its columns."""
    event = SessionEvent(
        tenant_id=TenantId(row.tenant_id),
        session_id=SessionId(row.session_id),
        owner_id=row.owner_id,
        type=SessionEventType(row.type),
        actor=row.actor,
        occurred_at=row.occurred_at,
        data_source=row.data_source,
        message=row.message,
        payload=payload_of(row.payload_json),
        agent_id=row.agent_id,
        run_id=row.run_id,
    )
    return JournalEntry(row.position, row.sequence, event)


def term_values(fleet_id: str, facts: TermFacts) -> dict[str, object]:
    """The columns of a term."""
    change, term = facts.change, facts.change.term
    session_id, cell = parse_tile_id(change.tile_id)
    return {
        "fleet_id": fleet_id,
        "epoch": term.epoch,
        "version": facts.version,
        "tenant_id": facts.tenant_id,
        "session_id": session_id,
        "cell": cell,
        "pod_id": term.pod_id,
        "reason": term.reason.value,
        "state": change.state.value,
        "pinned": change.pinned,
        "load": term.load,
        "assigned_at_ms": term.assigned_at_ms,
        "acknowledged_at_ms": term.acknowledged_at_ms,
        "ended_at_ms": change.ended_at_ms,
    }


def term_facts_of(row: Row[Any]) -> TermFacts:
    """The term of a row of all its columns. What only the living record has (readiness, its drain) is not in it."""
    term = Term(
        pod_id=PodId(row.pod_id),
        epoch=row.epoch,
        reason=AssignmentReason(row.reason),
        assigned_at_ms=row.assigned_at_ms,
        acknowledged_at_ms=row.acknowledged_at_ms,
        load=row.load,
    )
    tile = tile_id(SessionId(row.session_id), row.cell)
    change = TermChange(tile, term, AssignmentState(row.state), row.pinned, ended_at_ms=row.ended_at_ms)
    return TermFacts(change, TenantId(row.tenant_id), row.version)


def detail_texts(key: str, value: str) -> list[str]:
    """The texts by one of which a detail shows in the details' JSON, whatever stands before it.

    Between details there is nothing but a comma; and a quotation mark behind a comma or a brace that is not escaped
    opens a key, or closes a text that ends in it: no key that begins like what follows a text may be sought.
    """
    detail = _json({key: value})[1:-1]
    return ["{" + detail, "," + detail]


def is_text(given: str) -> bool:
    """Whether every database takes a text: JSON can smuggle in half a surrogate pair, and PostgreSQL takes no NUL."""
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in given


def _microseconds(length: timedelta | None) -> int | None:
    return None if length is None else length // _MICROSECOND


def _duration(microseconds: int | None) -> timedelta | None:
    return None if microseconds is None else timedelta(microseconds=microseconds)


def _json(value: Mapping[str, object]) -> str:
    # Not escaped to ASCII: that would also let through what is not Unicode.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
