"""Owns the session as a value: its fields, its states, and what a decision does to the store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.idempotency import IdempotencyKey
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEvent
from subgraph.domain.labels import Labels
from subgraph.domain.registration import NewCoverage


class SessionState(StrEnum):
    """Where a session stands in its lifecycle."""

    ACTIVE = "ACTIVE"
    ENDED = "ENDED"
    EXPIRED = "EXPIRED"
    DELETED = "DELETED"


@dataclass(frozen=True, slots=True)
class Session:
    """An isolated workspace with a lifetime. Times are UTC.

    `required_labels` is what all its tiles require of a pod. Its time runs out at `expires_at`, or never. `stopped_at`
    is since when it has been in another state than ACTIVE: retention counts from there. The session it was
    `copied_from` may be gone by now. Who does not hold its name shares it with others.
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
    stopped_at: datetime | None = None
    deleted_at: datetime | None = None
    deleted_by: str | None = None
    copied_from: SessionId | None = None
    context: Mapping[str, object] = field(default_factory=dict)
    token_budget: int | None = None
    tick_interval: timedelta | None = None
    required_labels: Labels = field(default_factory=dict)
    holds_name: bool = True


@dataclass(frozen=True, slots=True)
class Association:
    """One session is an associate of another one, its parent."""

    parent_id: SessionId
    associate_id: SessionId


@dataclass(frozen=True, slots=True)
class SessionChange:
    """What one decision does to the store: all of it in one transaction, or nothing.

    `updated` sessions carry the revision after the change; the stored one must be one lower. `purged` ones are removed
    for good, if they are at the revision they carry; their events are written all the same. A `key` has the first of
    the `created` made once, however often it is asked for; with a `coverage` that one begins.
    """

    created: tuple[Session, ...] = ()
    updated: tuple[Session, ...] = ()
    purged: tuple[Session, ...] = ()
    associated: tuple[Association, ...] = ()
    dissociated: tuple[Association, ...] = ()
    events: tuple[SessionEvent, ...] = ()
    key: IdempotencyKey | None = None
    coverage: NewCoverage | None = None
