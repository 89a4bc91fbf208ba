"""Owns the document in which a session leaves one place and comes to another: its fields, its limits, its version.

It holds what was told, decided and registered of the session, and no secret. What a later version adds comes with
another number, so that nobody reads half of a document.
"""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.journal import SessionEventType
from subgraph.domain.sessions import SessionState

FORMAT = "session-manager/session"
VERSION = 1

CELLS_MAX = 100_000
EVENTS_MAX = 5_000
"""Events that a document tells, the newest of its session."""
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
    """One thing that its journal tells."""

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
    """A session as it was at one moment. Of its events, in order, so many older ones are left out."""

    format: Literal["session-manager/session"]
    version: Literal[1]
    exported_at: datetime
    session: SessionPart
    hierarchy: HierarchyPart
    coverage: list[CoveragePart]
    events: list[EventPart]
    events_omitted: Annotated[int, msgspec.Meta(ge=0)] = 0
