"""Owns what changes of a running session do: its fields, merged key by key, and its name."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import nsmallest
from typing import Any, TypeVar

from subgraph.domain.errors import IllegalState, InvalidInput
from subgraph.domain.expiry import TTL_MAX
from subgraph.domain.journal import SessionEvent, SessionEventType, event_of
from subgraph.domain.naming import check_name, normal_name
from subgraph.domain.new_session import CONTEXT_BYTES_MAX, check_details, check_json_size
from subgraph.domain.sessions.lifecycle import active, as_of, changed, check_revision, extend, require_active
from subgraph.domain.sessions.patch import EXTEND_TTL_PATH, SessionPatch
from subgraph.domain.sessions.record import Session, SessionChange

T = TypeVar("T")

TOUCH_INTERVAL_MAX = timedelta(minutes=1)
"""Touches of a session are written so often at most."""
KEYS_TOLD_MAX = 100
KEY_TOLD_LENGTH_MAX = 200
"""An event counts all keys of the context that were changed, and names so many, of those that are no longer."""


def update(
    session: Session, patch: SessionPatch, *, actor: str, now: datetime, expected_revision: int | None = None
) -> SessionChange:
    """Change what is given. Where everything is so already, nothing changes and nothing is announced.

    The patch was checked, by `check_patch`: this decides within the transaction of the store, for which others wait, so
    it does what needs the session and no more, in time linear in both.

    Raises:
        IllegalState, SessionExpired, NotFound: the session is not ACTIVE, or never expires and is to be extended.
        InvalidInput: what it would hold is beyond a limit.
        RevisionConflict: `expected_revision` is given and is not the session's.
    """
    require_active(as_of(session, now), ("id",))
    check_revision(session, expected_revision)
    after = replace(session, **_given(patch), details=_details(session, patch), context=_context(session, patch))
    fields = [name for name, attribute in _TOLD.items() if getattr(after, attribute) != getattr(session, attribute)]
    events: tuple[SessionEvent, ...] = ()
    if fields:
        payload = {"fields": fields}
        events = (event_of(after, SessionEventType.SESSION_UPDATED, actor, now, payload=payload),)
    if after.context != session.context:
        told = _keys_told(_differing(session.context, after.context))
        events = (*events, event_of(after, SessionEventType.CONTEXT_UPDATED, actor, now, payload=told))
    after = active(after, now)
    if patch.extend_ttl is not None:
        (after,), of_extension = _extended(after, patch.extend_ttl, actor, now)
        events = (*events, *of_extension)
    return changed(session, after, now, events) if events else SessionChange()


def touch(session: Session, *, actor: str, now: datetime) -> SessionChange:
    """Note that work goes on in a session: who slides has its time start anew.

    Touches that follow each other closely change nothing: within a minute, or a tenth of the TTL if that is less.

    Raises:
        IllegalState, SessionExpired, NotFound: the session is not ACTIVE.
    """
    require_active(as_of(session, now), ("id",))
    if now - session.last_active_at < min(TOUCH_INTERVAL_MAX, (session.ttl or TTL_MAX) / 10):
        return SessionChange()
    event = event_of(session, SessionEventType.SESSION_UPDATED, actor, now, payload={"fields": ["lastActiveAt"]})
    return changed(session, active(session, now), now, (event,))


def release_external_id(session: Session, *, actor: str, now: datetime) -> SessionChange:
    """Take a session's external id from it, so that another one may bear it."""
    event = event_of(session, SessionEventType.SESSION_UPDATED, actor, now, payload={"fields": ["externalId"]})
    return changed(session, replace(session, external_id=None), now, (event,))


def rename(
    session: Session,
    display_name: str,
    *,
    actor: str,
    now: datetime,
    expected_revision: int | None = None,
    holds_name: bool = True,
) -> SessionChange:
    """Give a session another name. Its id, and what refers to it, stay; so does the name `main` of the main session.

    Raises:
        IllegalState, SessionExpired, NotFound: the session is not ACTIVE.
        InvalidInput: the name is malformed, or the session is `main`.
        RevisionConflict: `expected_revision` is given and is not the session's.
    """
    require_active(as_of(session, now), ("id",))
    check_revision(session, expected_revision)
    name = normal_name(display_name)
    if name == session.display_name:
        return SessionChange()
    if session.is_main:
        raise InvalidInput("the main session keeps its name", ("displayName",))
    check_name(name)
    renamed = active(replace(session, display_name=name, holds_name=holds_name), now)
    payload = {"from": session.display_name, "to": name}
    return changed(
        session, renamed, now, (event_of(session, SessionEventType.SESSION_RENAMED, actor, now, payload=payload),)
    )


_TOLD = {
    "externalId": "external_id",
    "dataSource": "data_source",
    "type": "type",
    "version": "version",
    "utcOffset": "utc_offset",
    "metadata": "metadata",
    "details": "details",
    "maxHistory": "max_history",
    "tokenBudget": "token_budget",
    "tickInterval": "tick_interval",
    "requiredLabels": "required_labels",
}
"""What SESSION_UPDATED tells of, as callers name it, and the session's field."""
_SET = set(_TOLD.values()) - {"details", "tick_interval"}
"""Those that an update sets as they are given: details are merged, and an interval is given at the beginning."""


def _given(patch: SessionPatch) -> dict[str, Any]:
    values = {attribute: getattr(patch, attribute) for attribute in _SET}
    # An empty text never clears; what is to go is said.
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    return given | {_TOLD[name]: None for name in patch.remove_fields}


def _details(session: Session, patch: SessionPatch) -> Mapping[str, str]:
    given = {key: value for key, value in patch.details.items() if value}
    merged = _merged(session.details, given, patch.remove_details)
    if given:
        check_details(merged)
    return merged


def _context(session: Session, patch: SessionPatch) -> Mapping[str, object]:
    merged = _merged(session.context, patch.context, patch.remove_context)
    if patch.context:
        check_json_size(merged, CONTEXT_BYTES_MAX, "context")
    return merged


def _merged(before: Mapping[str, T], given: Mapping[str, T], removed: Iterable[str]) -> dict[str, T]:
    merged = {**before, **given}
    for key in removed:
        merged.pop(key, None)
    return merged


def _differing(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    missing = object()
    return {key for key in before.keys() | after.keys() if before.get(key, missing) != after.get(key, missing)}


def _keys_told(keys: set[str]) -> dict[str, object]:
    named = nsmallest(KEYS_TOLD_MAX, (key for key in keys if len(key) <= KEY_TOLD_LENGTH_MAX))
    return {"count": len(keys), "keys": named}


def _extended(
    session: Session, ttl: timedelta, actor: str, now: datetime
) -> tuple[tuple[Session, ...], tuple[SessionEvent, ...]]:
    try:
        change = extend(session, ttl, actor=actor, now=now)
    except IllegalState as refused:
        # It is ACTIVE, so what stands in the way is that it never expires.
        raise IllegalState(refused.message, refused.state, EXTEND_TTL_PATH) from refused
    return change.updated, change.events
