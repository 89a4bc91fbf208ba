"""Owns the names of keys and channels: a tenant's begin with the tenant, a fleet's carry it as their hash tag."""

import re

from subgraph.domain.ids import SessionId, TenantId

PREFIX = "session-manager"


def fleet_keys(fleet_id: str) -> list[str]:
    """The keys of a fleet as every script takes them; one hash tag keeps them in one cluster slot."""
    # The order is that of the scripts' prelude.
    names = ["meta", "tiles", "pods", "tokens", "leases", "applied", "claims", "leader", "loads", "cycle", "pause"]
    names += ["requirements", "terms", "changes"]
    return [f"{PREFIX}:{{{fleet_id}}}:{name}" for name in names]


def fleet_key(fleet_id: str, name: str) -> str:
    """One further key of a fleet."""
    return f"{PREFIX}:{{{fleet_id}}}:{name}"


JOURNAL_CHANNEL = f"{PREFIX}:journal"
"""The channel on which new entries of the journal are announced, of all tenants: ids, and nothing they hold."""


def client_session_key(tenant_id: TenantId, digest: str) -> str:
    """The key that says whose an id of a chat client is."""
    return f"{client_sessions_prefix(tenant_id)}{digest}"


def client_sessions_prefix(tenant_id: TenantId) -> str:
    """How the keys begin that say whose the ids of a tenant's chat clients are."""
    return f"{tenant_id}:{PREFIX}:client-session:"


def session_key(fleet_id: str, tenant_id: TenantId, session_id: SessionId, run: str) -> str:
    """The key of a session's copy in one run of the store; its session's own hash tag."""
    return f"{tenant_id}:{PREFIX}:{fleet_id}:session:{{{session_id}}}:{run}"


def sessions_standing_key(fleet_id: str) -> str:
    """The key of how many announcements of changed sessions there were, and in which line."""
    return fleet_key(fleet_id, "sessions")


def session_keys_pattern(fleet_id: str) -> str:
    """What the keys of all copies of sessions are like, of all tenants and runs."""
    literal = re.sub(r"([][*?\\^-])", r"\\\1", fleet_id)
    return f"*:{PREFIX}:{literal}:session:{{*}}:*"
