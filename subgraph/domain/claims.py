"""Owns how the claims of a verified token become a caller: its tenant, its owner, its scopes."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from subgraph.domain.access import Caller, Scope
from subgraph.domain.ids import TenantId

TENANT_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@|-]{0,127}")
"""Tenants name channels and folders: no separators of either, nothing that is hidden, nothing that leads upwards."""
OWNER_LENGTH_MAX = 256


class BadClaims(Exception):
    """A genuine token that does not say who its bearer is, or says it in a form that is not accepted."""


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Where issuers write what is asked of a token: of tenant and owner the first claim there is, of scopes all."""

    tenant: tuple[str, ...] = ("tenant", "tenant_id")
    owner: tuple[str, ...] = ("sub",)
    scopes: tuple[str, ...] = ("scope", "scp", "scopes")


def caller_of(claims: Mapping[str, object], names: ClaimNames, tenant_otherwise: TenantId | None = None) -> Caller:
    """The caller that a token speaks for. Scopes that mean nothing here are left out.

    Args:
        claims: what the verified token says.
        names: under which names.
        tenant_otherwise: the tenant of tokens that name none; None: these are refused.

    Raises:
        BadClaims: there is no owner or no tenant, or one is malformed.
    """
    tenant = _first(claims, names.tenant)
    if tenant is None:
        tenant = tenant_otherwise
    if not isinstance(tenant, str) or not TENANT_PATTERN.fullmatch(tenant):
        raise BadClaims(f"no tenant in {' or '.join(names.tenant)}, or one that is not accepted")
    owner = _first(claims, names.owner)
    if not isinstance(owner, str) or not 0 < len(owner) <= OWNER_LENGTH_MAX or not owner.isprintable():
        raise BadClaims(f"no owner in {' or '.join(names.owner)}, or one that is not accepted")
    told = {text for name in names.scopes for text in _texts(claims.get(name))}
    return Caller(TenantId(tenant), owner, frozenset(scope for scope in Scope if scope.value in told))


def _first(claims: Mapping[str, object], names: Iterable[str]) -> object:
    return next((claims[name] for name in names if claims.get(name) is not None), None)


def _texts(value: object) -> list[str]:
    """Scopes as OAuth writes them, one text with spaces; or as a list, which others prefer."""
    if isinstance(value, str):
        return value.split()
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []
