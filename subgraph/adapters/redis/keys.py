"""Owns the names of keys and channels: a tenant's begin with the tenant, a fleet's carry it as their hash tag."""

from subgraph.domain.ids import TenantId

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


def session_notifications_channel(tenant_id: TenantId) -> str:
    """The channel on which starts and stops of a tenant's sessions are announced."""
    return f"{tenant_id}:{PREFIX}:sessions"
