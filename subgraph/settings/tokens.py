"""Owns the checks of authentication settings: tokens that could not be verified, or that anybody could forge."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from subgraph.domain.claims import TENANT_PATTERN
from subgraph.settings.addresses import is_private_url
from subgraph.settings.texts import variable

if TYPE_CHECKING:
    from subgraph.settings import Settings

SECRET_PATTERN = re.compile(r"[!-~]{8,1000}")
HEADER_PATTERN = re.compile(r"[A-Za-z0-9-]{1,64}")
CLAIM_LENGTH_MAX = 200
LEEWAY_SECONDS_MAX = 300
BYTES_OF_SECRET = {"HS256": 32, "HS384": 48, "HS512": 64}
"""The least a shared secret must have, by RFC 7518: as much as the algorithm's hash."""
KINDS_OF_KEYS = ("jwt_secret", "jwt_public_key_file", "jwt_jwks_url")
PUBLIC_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")


def algorithms_of(settings: "Settings") -> tuple[str, ...]:
    """The algorithms that tokens may be signed with: those set, or those that fit the kind of key."""
    return settings.jwt_algorithms or (("HS256",) if settings.jwt_secret is not None else PUBLIC_ALGORITHMS)


def problems(settings: "Settings") -> Iterator[tuple[str, str]]:
    """What is wrong: the setting, and why it is refused."""
    for name in ("access_token", "gateway_secret"):
        secret = getattr(settings, name)
        if secret is not None and not SECRET_PATTERN.fullmatch(secret):
            yield name, "must have 8 to 1,000 printable ASCII characters without spaces"
    if not HEADER_PATTERN.fullmatch(settings.gateway_secret_header):
        yield "gateway_secret_header", "must be the name of a header: 1 to 64 letters, digits or -"
    given = [name for name in KINDS_OF_KEYS if getattr(settings, name)]
    if len(given) > 1:
        yield given[1], f"cannot be set along with {variable(given[0])}: tokens are verified with keys of one kind"
    yield from _problems_of_keys(settings)
    for name in ("jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_tenant"):
        if getattr(settings, name) and not given:
            yield name, f"needs one of {', '.join(map(variable, KINDS_OF_KEYS))}: without it no token is verified"
    if not 0 <= settings.jwt_leeway_seconds <= LEEWAY_SECONDS_MAX:
        yield "jwt_leeway_seconds", f"must lie between 0 and {LEEWAY_SECONDS_MAX}"
    for name in ("jwt_tenant_claims", "jwt_owner_claims", "jwt_scope_claims"):
        claims = getattr(settings, name)
        if not claims or not all(0 < len(claim) <= CLAIM_LENGTH_MAX for claim in claims):
            yield name, f"must name claims of 1 to {CLAIM_LENGTH_MAX} characters, separated by commas"
    if settings.jwt_tenant is not None and not TENANT_PATTERN.fullmatch(settings.jwt_tenant):
        yield "jwt_tenant", "must have 1 to 128 letters, digits, or _ . @ | -, and begin with a letter or digit"


def _problems_of_keys(settings: "Settings") -> Iterator[tuple[str, str]]:
    allowed = BYTES_OF_SECRET if settings.jwt_secret is not None else PUBLIC_ALGORITHMS
    if unknown := [one for one in settings.jwt_algorithms if one not in allowed]:
        yield "jwt_algorithms", f"{', '.join(unknown)}: with such a key only {', '.join(allowed)} are accepted"
    elif settings.jwt_secret is not None:
        least = max(BYTES_OF_SECRET[one] for one in algorithms_of(settings))
        if len(settings.jwt_secret.encode()) < least:
            yield "jwt_secret", f"must have at least {least} bytes for {' and '.join(algorithms_of(settings))}"
    if settings.jwt_jwks_url is not None and not is_private_url(settings.jwt_jwks_url):
        yield "jwt_jwks_url", "must be an https URL (http only on this machine): keys could be changed on the way"
