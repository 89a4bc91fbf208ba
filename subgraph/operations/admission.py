"""Owns who is let in, as whom, and until when: by a shared access token, by a signed token, or without either."""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.claims import BadClaims, ClaimNames, caller_of
from subgraph.domain.ids import TenantId
from subgraph.operations.refusals import Refusals

LOCAL_CALLER = Caller(TenantId("default"), "local", ALL_SCOPES)
"""On whose behalf everything is done while callers are not told apart: one local tenant."""
NOBODY = Caller(TenantId("default"), "nobody", frozenset())
"""Who a request is before it was let in: it may do nothing, whatever forgot to ask."""


class NotAdmitted(Exception):
    """The token is missing or is not accepted. Why, is for the log: whoever shows a false one learns nothing."""

    def __init__(self, why: str, *, is_missing: bool = False) -> None:
        super().__init__(why)
        self.is_missing = is_missing


class TokenVerifier(Protocol):
    """Signed tokens, as an issuer makes them."""

    async def verify(self, token: str) -> Mapping[str, object]:
        """The claims of a genuine token that is in force.

        Raises:
            NotAdmitted: it is not.
            Unavailable: the issuer's keys cannot be had, so nobody can tell.
        """
        ...


@dataclass(frozen=True, slots=True)
class Admission:
    """Who was let in. `expires_at`: until when, in seconds since 1970; None: for good."""

    caller: Caller
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Door:
    """Who is let in. With neither an access token nor signed ones, everybody is, as the local caller."""

    access_token: str | None = None
    verifier: TokenVerifier | None = None
    claim_names: ClaimNames = field(default_factory=ClaimNames)
    tenant_otherwise: TenantId | None = None
    leeway_seconds: float = 0.0
    gateway_secret: str | None = None
    refusals: Refusals = field(default_factory=Refusals, compare=False)

    @property
    def is_open(self) -> bool:
        """Whether callers need not say who they are."""
        return self.access_token is None and self.verifier is None

    async def admit(self, token: str | None) -> Admission:
        """Let a bearer of a token in.

        Raises:
            NotAdmitted: the token is missing or not accepted.
            Unavailable: the issuer's keys cannot be had.
        """
        try:
            return await self._admit(token)
        except NotAdmitted as problem:
            if not problem.is_missing:
                self.refusals.note(str(problem))
            raise

    def comes_through_gateway(self, shown: str | None) -> bool:
        """Whether a request shows the gateway's secret, where one is asked for."""
        return self.gateway_secret is None or (shown is not None and is_same(shown, self.gateway_secret))

    async def _admit(self, token: str | None) -> Admission:
        if self.is_open:
            return Admission(LOCAL_CALLER)
        if not token:
            raise NotAdmitted("no token", is_missing=True)
        if self.access_token is not None and is_same(token, self.access_token):
            return Admission(LOCAL_CALLER)
        if self.verifier is None:
            raise NotAdmitted("not the access token")
        claims = await self.verifier.verify(token)
        try:
            caller = caller_of(claims, self.claim_names, self.tenant_otherwise)
        except BadClaims as problem:
            raise NotAdmitted(str(problem)) from problem
        expires_at = claims["exp"]  # the verifier lets in none without
        if not isinstance(expires_at, int | float):
            raise NotAdmitted("exp is no number")
        return Admission(caller, expires_at + self.leeway_seconds)


def is_same(shown: str, secret: str) -> bool:
    """Whether a text is the secret; how long it takes to tell says nothing about where they differ."""
    return hmac.compare_digest(shown.encode(errors="surrogatepass"), secret.encode())
