"""Owns the session: its fields, its lifecycle as one table, and the decisions that create, change and end it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import uuid4

from subgraph.domain.errors import IllegalState, InvalidInput, RevisionConflict
from subgraph.domain.expiry import DEFAULTS, ExpiryPolicy, SessionDefaults, expiry_of
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEvent, SessionEventType, tell
from subgraph.domain.labels import REQUIRED_LABELS_MAX, Labels, check_labels
from subgraph.domain.naming import MAIN_DISPLAY_NAME, normal_name, retired_main_name
from subgraph.domain.new_session import TEXT_LENGTH_MAX, NewSession, check_new_session


class SessionState(StrEnum):
    """Where a session stands in its lifecycle."""

    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"


TRANSITIONS: Mapping[SessionState, frozenset[SessionState]] = {
    SessionState.ACTIVE: frozenset({SessionState.ENDED, SessionState.EXPIRED, SessionState.DELETED}),
    SessionState.ENDED: frozenset({SessionState.DELETED}),
    SessionState.EXPIRED: frozenset({SessionState.ACTIVE, SessionState.DELETED}),
    SessionState.DELETED: frozenset({SessionState.ACTIVE, SessionState.ENDED, SessionState.EXPIRED}),
}
"""Which state may follow which. Only `_move` reads it."""


@dataclass(frozen=True, slots=True)
class Session:
    """An isolated workspace with a lifetime. Times are UTC.

    `required_labels` is what all its tiles require of a pod. Its time runs out at `expires_at`, or never. The session
    it was `copied_from` may be gone by now.
    """

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
    last_active_at: datetime
    expiry_policy: ExpiryPolicy
    max_history: int
    external_id: str | None = None
    title: str | None = None
    ttl: timedelta | None = None
    expires_at: datetime | None = None
    ended_at: datetime | None = None
    deleted_at: datetime | None = None
    deleted_by: str | None = None
    copied_from: SessionId | None = None
    context: Mapping[str, object] = field(default_factory=dict)
    token_budget: int | None = None
    tick_interval: timedelta | None = None
    required_labels: Labels = field(default_factory=dict)

    @property
    def stopped_at(self) -> datetime | None:
        """Since when it is in a state that retention ends; None while it is ACTIVE."""
        match self.state:
            case SessionState.ACTIVE:
                return None
            case SessionState.ENDED:
                return self.ended_at
            case SessionState.EXPIRED:
                return self.expires_at
            case SessionState.DELETED:
                return self.deleted_at


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What one decision does to the store: all of it in one transaction, or nothing.

    `updated` sessions carry the revision after the change; the stored one must be one lower.
    """

    created: tuple[Session, ...] = ()
    updated: tuple[Session, ...] = ()
    events: tuple[SessionEvent, ...] = ()


def create(
    wanted: NewSession, tenant_id: TenantId, owner_id: str, now: datetime, defaults: SessionDefaults = DEFAULTS
) -> SessionChange:
    """A new ACTIVE session and its SESSION_STARTED event.

    Raises:
        InvalidInput: a field is beyond its limit, or the name looks like an id.
    """
    session_id = SessionId(str(uuid4()))
    display_name = normal_name(wanted.display_name) if wanted.display_name is not None else f"session-{session_id[:8]}"
    check_new_session(wanted, display_name)
    ttl = None if wanted.expiry_policy is ExpiryPolicy.NEVER else wanted.ttl or defaults.ttl
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
        last_active_at=now,
        expiry_policy=wanted.expiry_policy,
        max_history=defaults.max_history if wanted.max_history is None else wanted.max_history,
        external_id=wanted.external_id,
        ttl=ttl,
        expires_at=expiry_of(wanted.expiry_policy, ttl, now),
        context=dict(wanted.context),
        token_budget=wanted.token_budget,
        tick_interval=wanted.tick_interval,
        required_labels=dict(wanted.required_labels),
    )
    return SessionChange(created=(session,), events=(tell(session, SessionEventType.SESSION_STARTED, owner_id, now),))


def create_main(tenant_id: TenantId, owner_id: str, now: datetime) -> SessionChange:
    """The tenant's `main` session: the live world, which never expires."""
    wanted = NewSession(display_name=MAIN_DISPLAY_NAME, expiry_policy=ExpiryPolicy.NEVER)
    change = create(wanted, tenant_id, owner_id, now)
    return replace(change, created=(replace(change.created[0], is_main=True),))


def update(
    session: Session,
    *,
    actor: str,
    now: datetime,
    required_labels: Labels | None = None,
    expected_revision: int | None = None,
) -> SessionChange:
    """Change what is given. Where everything is so already, nothing changes and nothing is announced.

    Raises:
        IllegalState: the session is not ACTIVE.
        InvalidInput: a value is malformed or beyond a limit.
        RevisionConflict: `expected_revision` is given and is not the session's.
    """
    require_active(session, ("id",))
    _check_revision(session, expected_revision)
    if required_labels is None or required_labels == session.required_labels:
        return SessionChange()
    check_labels(required_labels, ("requiredLabels",), REQUIRED_LABELS_MAX)
    updated = replace(session, required_labels=dict(required_labels), revision=session.revision + 1, updated_at=now)
    event = tell(updated, SessionEventType.SESSION_UPDATED, actor, now)
    return SessionChange(updated=(updated,), events=(event,))


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
    _check_revision(session, expected_revision)
    ended = replace(_move(session, SessionState.ENDED, now), ended_at=now)
    events = (tell(ended, SessionEventType.SESSION_ENDED, actor, now),)
    if not session.is_main:
        return SessionChange(updated=(ended,), events=events)
    successor = create_main(session.tenant_id, session.owner_id, now)
    retired = replace(ended, is_main=False, display_name=retired_main_name(session.id))
    return SessionChange(created=successor.created, updated=(retired,), events=events + successor.events)


def require_active(session: Session, path: tuple[str, ...] = ()) -> None:
    """Refuse new work on a session that is not ACTIVE.

    Raises:
        IllegalState: with the session's state.
    """
    if session.state is not SessionState.ACTIVE:
        raise IllegalState(f"session {session.id!r} is {session.state}: it takes no new work", session.state, path)


def _check_revision(session: Session, expected_revision: int | None) -> None:
    if expected_revision is not None and expected_revision != session.revision:
        raise RevisionConflict(session.id, session.revision, ("expectedRevision",))


def _move(session: Session, target: SessionState, now: datetime) -> Session:
    if target not in TRANSITIONS[session.state]:
        raise IllegalState(f"session {session.id!r} is {session.state} and cannot be {target}", session.state)
    return replace(session, state=target, revision=session.revision + 1, updated_at=now)
