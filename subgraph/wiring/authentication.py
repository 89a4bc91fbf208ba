"""Owns the wiring of authentication: the verifier and the keys that the settings ask for."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from subgraph.adapters.jwt.jwks import Jwks
from subgraph.adapters.jwt.verifier import JwtVerifier, Keys, OneKey, read_public_key
from subgraph.domain.claims import ClaimNames
from subgraph.domain.ids import TenantId
from subgraph.operations.authentication import Authenticator
from subgraph.settings import Settings
from subgraph.settings.tokens import algorithms_of


def check_keys(settings: Settings) -> None:
    """Refuse settings with which no token could be verified, before anything is started.

    Raises:
        KeyFileUnusable: the file of the public key holds none that can be used.
    """
    if settings.jwt_public_key_file is not None:
        read_public_key(settings.jwt_public_key_file, algorithms_of(settings))


class AuthenticationParts:
    """The authenticator of a process. Made before the event loop runs; it fetches an issuer's keys within it."""

    def __init__(self, settings: Settings) -> None:
        """Read the file of the public key, if one is set.

        Raises:
            KeyFileUnusable: the file of the public key holds none that can be used.
        """
        self._jwks: Jwks | None = None
        keys = self._keys(settings)
        issuer, audience, leeway = settings.jwt_issuer, settings.jwt_audience, settings.jwt_leeway_seconds
        verifier = None if keys is None else JwtVerifier(keys, algorithms_of(settings), issuer, audience, leeway)
        self.authenticator = Authenticator(
            settings.access_token,
            verifier,
            ClaimNames(settings.jwt_tenant_claims, settings.jwt_owner_claims, settings.jwt_scope_claims),
            None if settings.jwt_tenant is None else TenantId(settings.jwt_tenant),
            leeway,
            settings.gateway_secret,
        )

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[None]:
        """Close the connection to the issuer at the end."""
        try:
            yield
        finally:
            if self._jwks is not None:
                await self._jwks.aclose()

    def _keys(self, settings: Settings) -> Keys | None:
        if settings.jwt_secret is not None:
            return OneKey(settings.jwt_secret.encode())
        if settings.jwt_public_key_file is not None:
            return OneKey(read_public_key(settings.jwt_public_key_file, algorithms_of(settings)))
        if settings.jwt_jwks_url is not None:
            self._jwks = Jwks(settings.jwt_jwks_url, algorithms_of(settings))
        return self._jwks
