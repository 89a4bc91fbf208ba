"""Owns the lifecycle of sessions: one table, and the decisions that end, expire, revive, delete and restore them.

A session whose time has run out is EXPIRED from that moment on, also before a sweep has written it; a decision about it
tells the journal of its expiry first.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from subgraph.domain.errors import IllegalState, InvalidInput, NotFound, RevisionConflict, SessionExpired
from subgraph.domain.expiry import DEFAULTS, ExpiryPolicy, SessionDefaults, check_ttl, expiry_of
from subgraph.domain.journal import SessionEvent, SessionEventType, event_of
from subgraph.domain.naming import check_name, normal_name, retired_main_name
from subgraph.domain.new_session import TEXT_LENGTH_MAX
from subgraph.domain.sessions.creation import succeed_main
from subgraph.domain.sessions.record import Session, SessionChange, SessionState

TRANSITIONS: Mapping[SessionState, frozenset[SessionState]] = {
    SessionState.ACTIVE: frozenset({SessionState.ENDED, SessionState.EXPIRED, SessionState.DELETED}),
    SessionState.ENDED: frozenset({SessionState.DELETED}),
    SessionState.EXPIRED: frozenset({SessionState.ACTIVE, SessionState.DELETED}),
    SessionState.DELETED: frozenset({SessionState.ACTIVE, SessionState.ENDED, SessionState.EXPIRED}),
}
"""Which state may follow which. Only `_move` reads it."""

Events = tuple[SessionEvent, ...]


def as_of(session: Session, now: datetime) -> Session:
    """The session as it is at a moment: EXPIRED if its time has run out, whether or not that was written yet."""
    is_due = session.expires_at is not None and session.expires_at <= now
    return replace(session, state=SessionState.EXPIRED) if is_due and session.state is SessionState.ACTIVE else session


def require_active(session: Session, path: tuple[str, ...] = ()) -> None:
    """Refuse new work on a session that is not ACTIVE.

    Raises:
        SessionExpired: its time has run out.
        NotFound: it is deleted.
        IllegalState: it has ended.
    """
    match session.state:
        case SessionState.ACTIVE:
            return
        case SessionState.EXPIRED:
            assert session.expires_at is not None
            raise SessionExpired(session.id, session.expires_at, path)
        case SessionState.DELETED:
            raise NotFound("Session", session.id, path)
        case SessionState.ENDED:
            raise IllegalState(f"session {session.id!r} is ENDED: it takes no new work", session.state, path)


def check_revision(session: Session, expected_revision: int | None) -> None:
    """Refuse a change that was decided on another revision.

    Raises:
        RevisionConflict: one is expected, and the session is at another.
    """
    if expected_revision is not None and expected_revision != session.revision:
        raise RevisionConflict(session.id, session.revision, ("expectedRevision",))


def changed(session: Session, after: Session, now: datetime, events: Events) -> SessionChange:
    """The change from a session, as it is stored, to what a decision made of it."""
    return SessionChange(updated=(replace(after, revision=session.revision + 1, updated_at=now),), events=events)


def active(session: Session, now: datetime) -> Session:
    """The session after work was done on it: who slides has its time start anew."""
    expires_at = session.expires_at
    if session.expiry_policy is ExpiryPolicy.SLIDING:
        expires_at = expiry_of(session.expiry_policy, session.ttl, now)
    return replace(session, last_active_at=now, expires_at=expires_at)


def end(
    session: Session,
    *,
    actor: str,
    now: datetime,
    data_source: str | None = None,
    expected_revision: int | None = None,
    defaults: SessionDefaults = DEFAULTS,
) -> SessionChange:
    """End a session. A second end changes nothing and announces nothing.

    An ended main hands its place on: its successor is created by the same change, and takes over the name. What it was
    is an ordinary session from now on, with the `defaults` of one.

    Raises:
        InvalidInput: `data_source` is given and is not the session's.
        SessionExpired, NotFound: its time had run out before, or it is deleted.
        RevisionConflict: `expected_revision` is given and the session is beyond it.
    """
    if data_source is not None and data_source != session.data_source:
        raise InvalidInput(f"dataSource {data_source[:TEXT_LENGTH_MAX]!r} is not the session's", ("dataSource",))
    if session.state is SessionState.ENDED:
        return SessionChange()
    check_revision(session, expected_revision)
    require_active(as_of(session, now), ("id",))
    ended = replace(_move(session, SessionState.ENDED), ended_at=now, stopped_at=now)
    told = (event_of(session, SessionEventType.SESSION_ENDED, actor, now),)
    return _stopped(session, ended, actor, now, told, defaults)


def expire(session: Session, now: datetime) -> SessionChange:
    """Write that a session's time has run out; nothing changes while it has not."""
    lapsed, events = _lapsed(session, now)
    return changed(session, lapsed, now, events) if events else SessionChange()


def extend(
    session: Session, ttl: timedelta, *, actor: str, now: datetime, expected_revision: int | None = None
) -> SessionChange:
    """Have a session expire a TTL from now, which is its TTL from now on; one that has expired is ACTIVE again.

    Raises:
        InvalidInput: the TTL is beyond its limits.
        IllegalState: it has ended, or never expires.
        NotFound: it is deleted.
        RevisionConflict: `expected_revision` is given and is not the session's.
    """
    check_ttl(ttl)
    check_revision(session, expected_revision)
    lapsed, events = _lapsed(session, now)
    is_revived = lapsed.state is SessionState.EXPIRED
    if not is_revived:
        require_active(lapsed, ("id",))
    if session.expiry_policy is ExpiryPolicy.NEVER:
        raise IllegalState(f"session {session.id!r} never expires: nothing is to be extended", session.state, ("id",))
    revived = _move(lapsed, SessionState.ACTIVE) if is_revived else lapsed
    after = replace(revived, ttl=ttl, expires_at=now + ttl, last_active_at=now, stopped_at=None)
    event_type = SessionEventType.SESSION_REVIVED if is_revived else SessionEventType.SESSION_EXTENDED
    payload = {"expiresAt": (now + ttl).isoformat()}
    return changed(session, after, now, (*events, event_of(session, event_type, actor, now, payload=payload)))


def delete(
    session: Session,
    *,
    actor: str,
    now: datetime,
    expected_revision: int | None = None,
    defaults: SessionDefaults = DEFAULTS,
) -> SessionChange:
    """Hide a session until it is restored or retention ends. A second deletion changes nothing and announces nothing.

    A deleted main hands its place on, as one that is ended does.

    Raises:
        RevisionConflict: `expected_revision` is given and the session is beyond it.
    """
    if session.state is SessionState.DELETED:
        return SessionChange()
    check_revision(session, expected_revision)
    lapsed, events = _lapsed(session, now)
    deleted = replace(_move(lapsed, SessionState.DELETED), deleted_at=now, deleted_by=actor, stopped_at=now)
    return _stopped(session, deleted, actor, now, (*events, _told_deleted(lapsed, actor, now)), defaults)


def purge(session: Session, *, actor: str | None, now: datetime, expected_revision: int | None = None) -> SessionChange:
    """Remove a session and all that is its own, for good; the journal keeps what it tells of it.

    Raises:
        RevisionConflict: `expected_revision` is given and is not the session's.
    """
    check_revision(session, expected_revision)
    lapsed, events = _lapsed(session, now)
    if lapsed.state is SessionState.ACTIVE:
        # Whoever waits for its stop is told of it in the same words as by a deletion that can be undone.
        events = (*events, _told_deleted(lapsed, actor, now))
    events = (*events, event_of(session, SessionEventType.SESSION_PURGED, actor, now))
    if not session.is_main:
        return SessionChange(purged=(session,), events=events)
    successor = succeed_main(session, actor, now)
    return SessionChange(created=successor.created, purged=(session,), events=events + successor.events)


def restore(
    session: Session, *, actor: str, now: datetime, display_name: str | None = None, holds_name: bool = True
) -> SessionChange:
    """Bring a deleted session back as it was: ENDED, EXPIRED, or ACTIVE with its sliding time starting anew.

    What was fixed to expire meanwhile comes back EXPIRED. A former main is an ordinary session.

    Args:
        session: the session.
        actor: on whose behalf.
        now: the time.
        display_name: another name for it, where its own may be taken by now.
        holds_name: whether no other session may bear its name.

    Raises:
        IllegalState: it is not deleted.
        InvalidInput: the name is malformed.
    """
    if session.state is not SessionState.DELETED:
        raise IllegalState(f"session {session.id!r} is {session.state}, not deleted", session.state, ("id",))
    name = session.display_name
    if display_name is not None:
        name = normal_name(display_name)
        check_name(name, may_be_retired_main=name == session.display_name)
    target = _state_before_deletion(session, now)
    there = replace(_move(session, target), deleted_at=None, deleted_by=None, stopped_at=now)
    restored = replace(there, display_name=name, holds_name=holds_name)
    if target is SessionState.ACTIVE:
        restored = active(replace(restored, stopped_at=None), now)
    event = event_of(session, SessionEventType.SESSION_RESTORED, actor, now, payload={"state": target.value})
    return changed(session, restored, now, (event,))


def _move(session: Session, target: SessionState) -> Session:
    if target not in TRANSITIONS[session.state]:
        raise IllegalState(f"session {session.id!r} is {session.state} and cannot be {target}", session.state, ("id",))
    return replace(session, state=target)


def _lapsed(session: Session, now: datetime) -> tuple[Session, Events]:
    """The session as of now, and what is to be told of its expiry if nobody has."""
    if as_of(session, now) is session:
        return session, ()
    expired = replace(_move(session, SessionState.EXPIRED), stopped_at=session.expires_at)
    return expired, (event_of(session, SessionEventType.SESSION_EXPIRED, None, now),)


def _stopped(
    session: Session, after: Session, actor: str, now: datetime, events: Events, defaults: SessionDefaults
) -> SessionChange:
    """The change that stops a session; a main is followed by another one in the same change, and is ordinary itself."""
    if not session.is_main:
        return changed(session, after, now, events)
    successor = succeed_main(session, actor, now)
    retired = replace(
        after,
        is_main=False,
        display_name=retired_main_name(session.id),
        expiry_policy=ExpiryPolicy.SLIDING,
        ttl=defaults.ttl,
        expires_at=expiry_of(ExpiryPolicy.SLIDING, defaults.ttl, now),
    )
    stopped = changed(session, retired, now, events + successor.events)
    return replace(stopped, created=successor.created)


def _told_deleted(session: Session, actor: str | None, now: datetime) -> SessionEvent:
    return event_of(session, SessionEventType.SESSION_DELETED, actor, now, payload={"formerState": session.state.value})


def _state_before_deletion(session: Session, now: datetime) -> SessionState:
    if session.ended_at is not None:
        return SessionState.ENDED
    # Who slides was kept alive until its deletion; whose time is fixed has none left after it has passed.
    until = session.deleted_at if session.expiry_policy is ExpiryPolicy.SLIDING else now
    if session.expires_at is not None and until is not None and session.expires_at <= until:
        return SessionState.EXPIRED
    return SessionState.ACTIVE
