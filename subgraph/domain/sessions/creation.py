"""Owns how sessions come to be: a new one of a caller's, and the tenant's main session."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from uuid import uuid4

from subgraph.domain.expiry import DEFAULTS, ExpiryPolicy, SessionDefaults, expiry_of
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.naming import MAIN_DISPLAY_NAME, normal_name
from subgraph.domain.new_session import NewSession, check_new_session
from subgraph.domain.sessions.record import Association, Session, SessionChange, SessionState
from subgraph.domain.sessions.relations import told_of_associates

_NOBODY: Mapping[SessionId, Session] = MappingProxyType({})


def create(
    wanted: NewSession,
    tenant_id: TenantId,
    owner_id: str,
    now: datetime,
    defaults: SessionDefaults = DEFAULTS,
    *,
    members: Mapping[SessionId, Session] = _NOBODY,
) -> SessionChange:
    """A new ACTIVE session and its SESSION_STARTED event; and what it and its associates are told of each other.

    Args:
        wanted: what is asked for.
        tenant_id: its tenant.
        owner_id: whose it is, and who asks.
        now: when it begins.
        defaults: what it gets where nothing is asked.
        members: the sessions at hand, all of `wanted.associate_ids` among them.

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
    started = event_of(session, SessionEventType.SESSION_STARTED, owner_id, now)
    associates = [members[one] for one in dict.fromkeys(wanted.associate_ids)]
    told = told_of_associates(session, associates, SessionEventType.SESSION_ASSOCIATED, owner_id, now)
    associated = tuple(Association(session_id, one.id) for one in associates)
    return SessionChange(created=(session,), associated=associated, events=(started, *told))


def create_main(tenant_id: TenantId, owner_id: str, now: datetime) -> SessionChange:
    """The tenant's `main` session: the live world, which never expires."""
    wanted = NewSession(display_name=MAIN_DISPLAY_NAME, expiry_policy=ExpiryPolicy.NEVER)
    change = create(wanted, tenant_id, owner_id, now)
    return replace(change, created=(replace(change.created[0], is_main=True),))


def succeed_main(former: Session, actor: str | None, now: datetime) -> SessionChange:
    """The main session after another one: its owner's as well, and begun by whoever had that one stop."""
    change = create_main(former.tenant_id, former.owner_id, now)
    return replace(change, events=tuple(replace(event, actor=actor) for event in change.events))
