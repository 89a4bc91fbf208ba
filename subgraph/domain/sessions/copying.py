"""Owns what a copy of a session is: its own id and clock, the same attributes, and the parts asked for."""

from collections.abc import Set
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from subgraph.domain.errors import SessionExpired
from subgraph.domain.expiry import DEFAULTS, ExpiryPolicy, SessionDefaults
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions.creation import create
from subgraph.domain.sessions.record import Session, SessionChange, SessionState
from subgraph.domain.sessions.relations import may_be_named


class CopyPart(StrEnum):
    """What of a session a copy takes along, beyond its attributes."""

    DATASETS = "DATASETS"
    SCENARIOS = "SCENARIOS"
    RUNS = "RUNS"
    CONTEXT = "CONTEXT"
    MESSAGES = "MESSAGES"
    FILES = "FILES"
    TILES = "TILES"


def copy(
    source: Session,
    display_name: str,
    include: Set[CopyPart],
    tenant_id: TenantId,
    owner_id: str,
    now: datetime,
    defaults: SessionDefaults = DEFAULTS,
) -> SessionChange:
    """A new ACTIVE session of the caller's with the attributes of another, and a SESSION_COPIED event after its start.

    The event names the source only in a journal whose readers may all see it. Its id, times, owner, title and external
    id are its own, and nothing in it is shared with its source. A copy of what never expires only because it is `main`
    expires like any other session.

    Raises:
        SessionExpired: the source's time has run out.
        InvalidInput: the name is malformed.
    """
    if source.state is SessionState.EXPIRED:
        raise SessionExpired(source.id, source.expires_at or source.updated_at, ("sourceId",))
    policy = ExpiryPolicy.SLIDING if source.is_main else source.expiry_policy
    wanted = NewSession(
        display_name=display_name,
        data_source=source.data_source,
        type=source.type,
        version=source.version,
        utc_offset=source.utc_offset,
        details=source.details,
        metadata=deepcopy(source.metadata),
        required_labels=source.required_labels,
        context=deepcopy(source.context) if CopyPart.CONTEXT in include else {},
        max_history=source.max_history,
        ttl=None if policy is ExpiryPolicy.NEVER else source.ttl,
        expiry_policy=policy,
        token_budget=source.token_budget,
        tick_interval=source.tick_interval,
    )
    change = create(wanted, tenant_id, owner_id, now, defaults)
    made = replace(change.created[0], copied_from=source.id)
    payload: dict[str, object] = {"include": sorted(part.value for part in include)}
    if may_be_named(source, made):
        payload = {"sourceId": source.id, **payload}
    told = event_of(made, SessionEventType.SESSION_COPIED, owner_id, now, payload=payload)
    return replace(change, created=(made,), events=(*change.events, told))
