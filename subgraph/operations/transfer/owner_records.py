"""Owns the ports of erasure: an owner's data in a store is found, deleted in batches, and searched for afterwards."""

from collections.abc import Mapping
from typing import Protocol

from subgraph.domain.erasure import Traces
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session

Residues = Mapping[str, int]
"""How many records of which place still bear a trace."""


class OwnerRecords(Protocol):
    """What SQL holds of an owner within a tenant. Raises Unavailable when it does not answer.

    All that forgets does so in bounded batches, each a transaction; what is forgotten already stays so, and several
    callers at once are harmless.
    """

    async def session_count(self, tenant_id: TenantId, owner_id: str) -> int:
        """How many sessions the owner has, of every state."""
        ...

    async def some_sessions(self, tenant_id: TenantId, owner_id: str, limit: int) -> list[Session]:
        """Some of the owner's sessions, of every state."""
        ...

    async def known_ids(self, tenant_id: TenantId, owner_id: str, limit: int) -> list[SessionId]:
        """The ids of sessions of the owner: those that there are, and purged ones of which the journal still tells."""
        ...

    async def has_unrelayed(self, tenant_id: TenantId, owner_id: str) -> bool:
        """Whether something was told of the owner's sessions that the relay has not carried out yet."""
        ...

    async def forget(self, tenant_id: TenantId, traces: Traces) -> None:
        """Remove all that was the owner's but for its sessions and its journal, and its traces in what is others'."""
        ...

    async def forget_journal(self, tenant_id: TenantId, traces: Traces) -> None:
        """Remove all that the journal tells of these sessions of the owner's. From then on nobody knows their ids."""
        ...


class ResidueScan(Protocol):
    """Looks through a whole store for what bears an owner's traces. Raises Unavailable if it cannot to the end."""

    async def residues(self, tenant_id: TenantId, traces: Traces) -> Residues:
        """Where traces are. Of other tenants only the ids of sessions count, which are the same nowhere else."""
        ...


class LiveResidues(ResidueScan, Protocol):
    """The same of the live store, which is also where leftovers are that only a scan finds."""

    async def forget(self, tenant_id: TenantId, traces: Traces) -> Residues:
        """Drop copies, load reports and claims to client ids that bear traces. Tiles end by their handoff alone.

        Returns:
            Where traces were, also those that were dropped: none, if nothing bore any from the beginning to the end.
        """
        ...
