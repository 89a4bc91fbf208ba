"""Owns the verification of signed tokens: a known algorithm, a key of its kind, claims that are in force."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from cryptography.x509 import load_pem_x509_certificate

from subgraph.adapters.jwt.algorithms import RSA_BITS_MIN, PublicKey, fits
from subgraph.operations.authentication import Unauthenticated

TOKEN_LENGTH_MAX = 8_192


class KeyFileUnusable(Exception):
    """A file that holds no public key for the algorithms that are accepted: one line on why."""


class Keys(Protocol):
    """The keys that tokens may be signed with."""

    async def key(self, algorithm: str, key_id: str | None) -> Any:
        """The key for a token with this header.

        Raises:
            Unauthenticated: there is none.
            Unavailable: the keys cannot be had.
        """
        ...


@dataclass(frozen=True, slots=True)
class OneKey:
    """One key for all tokens, which is known from the start."""

    value: PublicKey | bytes

    async def key(self, algorithm: str, key_id: str | None) -> PublicKey | bytes:
        """The key, if it is of the algorithm's kind: a public key never serves as a shared secret, nor the reverse."""
        if isinstance(self.value, bytes) != algorithm.startswith("HS"):
            raise Unauthenticated(f"{algorithm} with a key of another kind")
        if not isinstance(self.value, bytes) and not fits(algorithm, self.value):
            raise Unauthenticated(f"{algorithm} does not fit the key")
        return self.value


@dataclass(frozen=True, slots=True)
class JwtVerifier:
    """Signed tokens of one issuer."""

    keys: Keys
    algorithms: Sequence[str]
    issuer: str | None = None
    audience: str | None = None
    leeway_seconds: float = 0.0

    async def verify(self, token: str) -> Mapping[str, object]:
        """The claims of a genuine token that is in force. One that never expires is refused.

        Raises:
            Unauthenticated: it is not.
            Unavailable: the issuer's keys cannot be had.
        """
        if len(token) > TOKEN_LENGTH_MAX:
            raise Unauthenticated(f"a token has at most {TOKEN_LENGTH_MAX:,} characters")
        try:
            header = jwt.get_unverified_header(token)
            algorithm, key_id = str(header.get("alg")), header.get("kid")
            # What the token says of itself only chooses among what is accepted anyway: never `none`.
            if algorithm not in self.algorithms:
                raise Unauthenticated("its algorithm is not accepted")
            if "crit" in header:
                raise Unauthenticated("it needs extensions that are not understood")
            key = await self.keys.key(algorithm, key_id)
            claims: dict[str, object] = jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                issuer=self.issuer,
                audience=self.audience,
                leeway=self.leeway_seconds,
                options={"require": ["exp"], "verify_aud": self.audience is not None},
            )
        except (jwt.PyJWTError, ValueError, OverflowError, RecursionError) as problem:
            raise Unauthenticated(f"{type(problem).__name__}: {problem}") from problem
        return claims


def read_public_key(path: Path, algorithms: Sequence[str]) -> PublicKey:
    """The public key of a PEM file, or of a certificate in one.

    Raises:
        KeyFileUnusable: it cannot be read, holds no such key, or a key that fits none of the algorithms.
    """
    try:
        text = path.read_bytes()
        is_certificate = b"BEGIN CERTIFICATE" in text
        key: Any = load_pem_x509_certificate(text).public_key() if is_certificate else load_pem_public_key(text)
    except (OSError, ValueError) as error:
        raise KeyFileUnusable(f"{path} holds no public key in PEM: {error}") from error
    if not any(fits(algorithm, key) for algorithm in algorithms):
        wanted = ", ".join(algorithms)
        raise KeyFileUnusable(f"the key in {path} fits none of {wanted} (RSA needs {RSA_BITS_MIN} bits)")
    found: PublicKey = key
    return found
