"""Owns the session: its fields, its lifecycle as one table, and the decisions that create and end it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID, uuid4

import msgspec

from subgraph.domain.errors import IllegalState, InvalidInput, RevisionConflict
from subgraph.domain.ids import SessionId, TenantId

MAIN_DISPLAY_NAME = "main"
RETIRED_MAIN_PREFIX = "main-"
DISPLAY_NAME_LENGTH_MAX = 200
TEXT_LENGTH_MAX = 200
DETAILS_MAX = 100
DETAIL_VALUE_LENGTH_MAX = 1_000
METADATA_BYTES_MAX = 65_536
UTC_OFFSET_MAX = timedelta(hours=18)


class SessionState(StrEnum):
    """Where a session stands in its lifecycle."""

    ACTIVE = "ACTIVE"
    ENDED = "ENDED"


TRANSITIONS: Mapping[SessionState, frozenset[SessionState]] = {
    SessionState.ACTIVE: frozenset({SessionState.ENDED}),
    SessionState.ENDED: frozenset(),
}
"""Which state may follow which. Only `_move` reads it."""


class SessionEventType(StrEnum):
    """What the journal tells of a session."""

    SESSION_STARTED = "SESSION_STARTED"
    SESSION_ENDED = "SESSION_ENDED"


@dataclass(frozen=True, slots=True)
class Session:
    """An isolated workspace with a lifetime. Times are UTC."""

    id: SessionId
    tenant_id: TenantId
    owner_id: str
    display_name: str
    is_main: bool
    state: SessionState
    revision: int
    data_source: str | None
    type: str
    version: int
    utc_offset: timedelta
    details: Mapping[str, str]
    metadata: Mapping[str, object]
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionEvent:
    """One journal entry. `sequence` counts within the session, from 1."""

    id: str
    tenant_id: TenantId
    session_id: SessionId
    sequence: int
    type: SessionEventType
    actor: str
    occurred_at: datetime
    data_source: str | None


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What one decision does to the store: all of it in one transaction, or nothing.

    `updated` sessions carry the revision after the change; the stored one must be one lower.
    """

    created: tuple[Session, ...] = ()
    updated: tuple[Session, ...] = ()
    events: tuple[SessionEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a caller asks of a session to be created; the key is never the caller's to choose."""

    display_name: str | None = None
    data_source: str | None = None
    type: str = "Session"
    version: int = 1
    utc_offset: timedelta = timedelta()
    details: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)


def create(wanted: NewSession, tenant_id: TenantId, owner_id: str, now: datetime) -> SessionChange:
    """A new ACTIVE session and its SESSION_STARTED event.

    Raises:
        InvalidInput: a field is beyond its limit, or the name looks like an id.
    """
    session_id = SessionId(str(uuid4()))
    display_name = wanted.display_name if wanted.display_name is not None else f"session-{session_id[:8]}"
    _check_new_session(wanted, display_name)
    session = Session(
        id=session_id,
        tenant_id=tenant_id,
        owner_id=owner_id,
        display_name=display_name,
        is_main=False,
        state=SessionState.ACTIVE,
        revision=1,
        data_source=wanted.data_source,
        type=wanted.type,
        version=wanted.version,
        utc_offset=wanted.utc_offset,
        details=dict(wanted.details),
        metadata=dict(wanted.metadata),
        created_at=now,
        updated_at=now,
    )
    return SessionChange(created=(session,), events=(_event(session, 1, SessionEventType.SESSION_STARTED, owner_id),))


def create_main(tenant_id: TenantId, owner_id: str, now: datetime) -> SessionChange:
    """The tenant's `main` session: the live world."""
    change = create(NewSession(display_name=MAIN_DISPLAY_NAME), tenant_id, owner_id, now)
    return replace(change, created=(replace(change.created[0], is_main=True),))


def end(
    session: Session, *, actor: str, now: datetime, data_source: str | None = None, expected_revision: int | None = None
) -> SessionChange:
    """End a session. A second end changes nothing and announces nothing.

    An ended main hands its place on: its successor is created by the same change, and takes over the name.

    Raises:
        InvalidInput: `data_source` is given and is not the session's.
        RevisionConflict: `expected_revision` is given and the session is beyond it.
    """
    if data_source is not None and data_source != session.data_source:
        raise InvalidInput(f"dataSource {data_source[:TEXT_LENGTH_MAX]!r} is not the session's", ("dataSource",))
    if session.state is SessionState.ENDED:
        return SessionChange()
    if expected_revision is not None and expected_revision != session.revision:
        raise RevisionConflict(session.id, session.revision, ("expectedRevision",))
    ended = replace(_move(session, SessionState.ENDED, now), ended_at=now)
    events = (_event(ended, ended.revision, SessionEventType.SESSION_ENDED, actor),)
    if not session.is_main:
        return SessionChange(updated=(ended,), events=events)
    successor = create_main(session.tenant_id, session.owner_id, now)
    retired = replace(ended, is_main=False, display_name=f"{RETIRED_MAIN_PREFIX}{session.id}")
    return SessionChange(created=successor.created, updated=(retired,), events=events + successor.events)


def require_active(session: Session, path: tuple[str, ...] = ()) -> None:
    """Refuse new work on a session that is not ACTIVE.

    Raises:
        IllegalState: with the session's state.
    """
    if session.state is not SessionState.ACTIVE:
        raise IllegalState(f"session {session.id!r} is {session.state}: it takes no new work", session.state, path)


def _move(session: Session, target: SessionState, now: datetime) -> Session:
    if target not in TRANSITIONS[session.state]:
        raise IllegalState(f"session {session.id!r} is {session.state} and cannot be {target}", session.state)
    return replace(session, state=target, revision=session.revision + 1, updated_at=now)


def _event(session: Session, sequence: int, event_type: SessionEventType, actor: str) -> SessionEvent:
    return SessionEvent(
        id=f"{session.id}/{sequence}",
        tenant_id=session.tenant_id,
        session_id=session.id,
        sequence=sequence,
        type=event_type,
        actor=actor,
        occurred_at=session.updated_at,
        data_source=session.data_source,
    )


def _check_new_session(wanted: NewSession, display_name: str) -> None:
    if not display_name.strip() or len(display_name) > DISPLAY_NAME_LENGTH_MAX:
        raise InvalidInput(
            f"displayName must have 1 to {DISPLAY_NAME_LENGTH_MAX} characters, not {len(display_name):,}",
            ("displayName",),
            f"{DISPLAY_NAME_LENGTH_MAX} characters",
        )
    if display_name.startswith(RETIRED_MAIN_PREFIX):
        raise InvalidInput(
            f"names that begin with {RETIRED_MAIN_PREFIX!r} are kept for former main sessions", ("displayName",)
        )
    if len(msgspec.json.encode(wanted.metadata)) > METADATA_BYTES_MAX:
        raise InvalidInput(
            f"metadata has at most {METADATA_BYTES_MAX:,} bytes as JSON", ("metadata",), f"{METADATA_BYTES_MAX} bytes"
        )
    if _looks_like_uuid(display_name):
        raise InvalidInput("displayName may not look like a UUID: it would be mistaken for an id", ("displayName",))
    for name, text in (("dataSource", wanted.data_source), ("type", wanted.type)):
        if text is not None and not 1 <= len(text) <= TEXT_LENGTH_MAX:
            raise InvalidInput(
                f"{name} must have 1 to {TEXT_LENGTH_MAX} characters, not {len(text):,}",
                (name,),
                f"{TEXT_LENGTH_MAX} characters",
            )
    if wanted.version < 1:
        raise InvalidInput(f"version must be at least 1, not {wanted.version}", ("version",), "1")
    if abs(wanted.utc_offset) > UTC_OFFSET_MAX:
        raise InvalidInput("utcOffset must lie within 18 hours of UTC", ("utcOffset",), "PT18H")
    if len(wanted.details) > DETAILS_MAX:
        raise InvalidInput(
            f"at most {DETAILS_MAX} details, not {len(wanted.details):,}", ("details",), f"{DETAILS_MAX} details"
        )
    for index, (key, value) in enumerate(wanted.details.items()):
        if not 1 <= len(key) <= TEXT_LENGTH_MAX or len(value) > DETAIL_VALUE_LENGTH_MAX:
            raise InvalidInput(
                f"a detail's key has 1 to {TEXT_LENGTH_MAX} characters, its value at most {DETAIL_VALUE_LENGTH_MAX:,}",
                ("details", str(index)),
                f"{DETAIL_VALUE_LENGTH_MAX} characters",
            )


def _looks_like_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True
