"""Owns authorization: callers, their scopes, which scopes imply others, and the rules of tenancy."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from subgraph.domain.errors import NotAllowed, NotFound
from subgraph.domain.ids import TenantId


class Scope(StrEnum):
    """What a caller may do, as its token says. Fleet scopes and `pod` go across tenants: the fleet is shared."""

    SESSION_READ = "session:read"
    SESSION_WRITE = "session:write"
    TENANT_READ = "tenant:read"
    TENANT_WRITE = "tenant:write"
    FLEET_READ = "fleet:read"
    FLEET_OPERATE = "fleet:operate"
    POD = "pod"
    ADMIN = "admin"


ALL_SCOPES: frozenset[Scope] = frozenset(Scope)

STANDS_FOR: Mapping[Scope, frozenset[Scope]] = {
    Scope.SESSION_READ: frozenset(),
    Scope.SESSION_WRITE: frozenset({Scope.SESSION_READ}),
    Scope.TENANT_READ: frozenset({Scope.SESSION_READ}),
    Scope.TENANT_WRITE: frozenset({Scope.TENANT_READ, Scope.SESSION_WRITE, Scope.SESSION_READ}),
    Scope.FLEET_READ: frozenset(),
    Scope.FLEET_OPERATE: frozenset({Scope.FLEET_READ}),
    Scope.POD: frozenset(),
    Scope.ADMIN: ALL_SCOPES - {Scope.ADMIN},
}
"""Which scopes a scope holds as well."""


def scopes_granting(wanted: Scope) -> tuple[Scope, ...]:
    """The scopes any one of which is enough where `wanted` is required, itself first."""
    return (wanted, *(scope for scope in Scope if wanted in STANDS_FOR[scope]))


class Owned(Protocol):
    """What belongs to an owner within a tenant: a session."""

    @property
    def tenant_id(self) -> TenantId:
        """Whose tenant it is in."""
        ...

    @property
    def owner_id(self) -> str:
        """Who created it."""
        ...

    @property
    def is_main(self) -> bool:
        """Whether it is the tenant's live world, which all of the tenant see."""
        ...


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf something is done, and what it may do."""

    tenant_id: TenantId
    owner_id: str
    scopes: frozenset[Scope]

    def has(self, wanted: Scope) -> bool:
        """Whether the caller bears a scope, or one that stands for it."""
        return not self.scopes.isdisjoint(scopes_granting(wanted))

    def may_see(self, session: Owned) -> bool:
        """Whether the session exists at all for this caller. Ask after every load, cached or not."""
        return session.tenant_id == self.tenant_id and (
            session.owner_id == self.owner_id or session.is_main or self.has(Scope.TENANT_READ)
        )

    def may_change(self, session: Owned) -> bool:
        """Whether the caller may change the session."""
        is_own = session.owner_id == self.owner_id
        return session.tenant_id == self.tenant_id and self.has(Scope.SESSION_WRITE if is_own else Scope.TENANT_WRITE)

    def reaches(self, tenant_id: TenantId) -> bool:
        """Whether what the fleet holds of a tenant is within reach: its own, or all with fleet:read."""
        return tenant_id == self.tenant_id or self.has(Scope.FLEET_READ)

    def operating_in(self, tenant_id: TenantId) -> "Caller":
        """The same caller at work on another tenant's tiles, as fleet:operate allows; else the caller as it is."""
        if not self.has(Scope.FLEET_OPERATE):
            return self
        return replace(self, tenant_id=tenant_id, scopes=self.scopes | {Scope.TENANT_READ})


def require_change(caller: Caller, session: Owned | None, session_id: str, path: tuple[str, ...] = ("id",)) -> None:
    """Refuse what the caller may not change: as absent what it may not see, with the scope it lacks what it may.

    Raises:
        NotFound: there is no such session, or none for this caller: the answer is the same.
        NotAllowed: the caller may see it, and not change it.
    """
    if session is None or not caller.may_see(session):
        raise NotFound("Session", session_id, path)
    if not caller.may_change(session):
        is_own = session.owner_id == caller.owner_id
        raise NotAllowed(Scope.SESSION_WRITE if is_own else Scope.TENANT_WRITE, path)
