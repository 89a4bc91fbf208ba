"""Owns authentication: who a caller is, and until when, by a shared access token, a signed token, or neither."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.claims import BadClaims, ClaimNames, caller_of
from subgraph.domain.ids import TenantId
from subgraph.operations.refusals import Refusals

LOCAL_CALLER = Caller(TenantId("default"), "local", ALL_SCOPES)
"""The caller of every request for which no token is needed, or that shows the access token: one local tenant."""
NOBODY = Caller(TenantId("default"), "nobody", frozenset())
"""The caller of a request that was not authenticated: it has no scope, so a forgotten check allows nothing."""


class Unauthenticated(Exception):
    """The token is missing or is not accepted. The reason is for the log: an attacker must learn nothing."""

    def __init__(self, why: str, *, is_missing: bool = False) -> None:
        super().__init__(why)
        self.is_missing = is_missing


class TokenVerifier(Protocol):
    """Verifies signed tokens of an issuer."""

    async def verify(self, token: str) -> Mapping[str, object]:
        """The claims of a genuine token that is in force.

        Raises:
            Unauthenticated: it is not.
            Unavailable: the issuer's keys cannot be fetched, so the token cannot be verified.
        """
        ...


@dataclass(frozen=True, slots=True)
class Authenticated:
    """An authenticated caller. `expires_at`: until when, in seconds since 1970; None: without end."""

    caller: Caller
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Authenticates callers. With neither an access token nor a verifier everybody is the local caller."""

    access_token: str | None = None
    verifier: TokenVerifier | None = None
    claim_names: ClaimNames = field(default_factory=ClaimNames)
    tenant_otherwise: TenantId | None = None
    leeway_seconds: float = 0.0
    gateway_secret: str | None = None
    refusals: Refusals = field(default_factory=Refusals, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether no token is needed."""
        return self.access_token is None and self.verifier is None

    async def authenticate(self, token: str | None) -> Authenticated:
        """The caller that a bearer token stands for.

        Raises:
            Unauthenticated: the token is missing or not accepted.
            Unavailable: the issuer's keys cannot be fetched.
        """
        try:
            return await self._authenticate(token)
        except Unauthenticated as problem:
            if not problem.is_missing:
                self.refusals.note(str(problem))
            raise

    def comes_through_gateway(self, shown: str | None) -> bool:
        """Whether a request shows the gateway's secret, where one is asked for."""
        return self.gateway_secret is None or (shown is not None and is_same(shown, self.gateway_secret))

    async def _authenticate(self, token: str | None) -> Authenticated:
        if self.is_open:
            return Authenticated(LOCAL_CALLER)
        if not token:
            raise Unauthenticated("no token", is_missing=True)
        if self.access_token is not None and is_same(token, self.access_token):
            return Authenticated(LOCAL_CALLER)
        if self.verifier is None:
            raise Unauthenticated("not the access token")
        claims = await self.verifier.verify(token)
        try:
            caller = caller_of(claims, self.claim_names, self.tenant_otherwise)
        except BadClaims as problem:
            raise Unauthenticated(str(problem)) from problem
        expires_at = claims["exp"]  # the verifier accepts no token without it
        if not isinstance(expires_at, int | float):
            raise Unauthenticated("exp is no number")
        try:
            return Authenticated(caller, expires_at + self.leeway_seconds)
        except OverflowError as problem:
            raise Unauthenticated("exp is beyond all times") from problem


def is_same(shown: str, secret: str) -> bool:
    """Whether a text is the secret, compared in constant time."""
    return hmac.compare_digest(shown.encode(errors="surrogatepass"), secret.encode())
