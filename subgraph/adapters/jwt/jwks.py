"""Owns the keys that an issuer publishes: fetched when needed, kept for a while when it is away."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Any

import httpx
import jwt
import msgspec

from subgraph.adapters.jwt.algorithms import PublicKey, fits
from subgraph.domain.errors import Unavailable
from subgraph.operations.authentication import Unauthenticated
from subgraph.operations.ports import MonotonicClock

logger = logging.getLogger(__name__)

FETCH_SECONDS_MAX = 5.0
"""How long a fetch may take in all, from the connection to the last byte."""
BODY_BYTES_MAX = 262_144
KEYS_MAX = 100
FRESH_SECONDS = 300.0
"""Keys older than this are fetched anew, while they go on serving."""
STALE_SECONDS_MAX = 3_600.0
"""Keys older than this serve no more: an issuer that is away cannot say that it has withdrawn one."""
AGAIN_SECONDS = 10.0
"""How soon after a fetch another one may begin: whoever makes up key ids must not make us ask all the time."""
AGAIN_AFTER_FAILURE_SECONDS = 2.0


class Jwks:
    """The keys at one URL. A key that is not known is looked for there; two that wait share one fetch."""

    def __init__(self, url: str, algorithms: Sequence[str], clock: MonotonicClock = time.monotonic) -> None:
        self._url = url
        self._algorithms = algorithms
        self._clock = clock
        # One client for life: making one reads certificates from the disk.
        self._http = httpx.AsyncClient(
            timeout=FETCH_SECONDS_MAX,
            follow_redirects=False,
            # Through a proxy only what it cannot change.
            trust_env=url.startswith("https:"),
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )
        self._keys: list[tuple[str | None, str | None, PublicKey]] = []
        self._fetched_at = float("-inf")
        self._not_before = float("-inf")
        self._is_away = False
        self._fetch: asyncio.Task[None] | None = None

    async def key(self, algorithm: str, key_id: str | None) -> PublicKey:
        """The published key for a token with this header.

        Raises:
            Unauthenticated: no such key is published.
            Unavailable: the keys are not known, or were too long ago.
        """
        age = self._clock() - self._fetched_at
        found = self._find(algorithm, key_id) if age < STALE_SECONDS_MAX else None
        if found is None:
            await self._refresh()
            found = self._find(algorithm, key_id)
        elif age >= FRESH_SECONDS:
            self._begin()
        if self._clock() - self._fetched_at >= STALE_SECONDS_MAX or (found is None and self._is_away):
            raise Unavailable("the keys that tokens are signed with cannot be had", AGAIN_AFTER_FAILURE_SECONDS)
        if found is None:
            raise Unauthenticated("signed with a key that is not published")
        return found

    async def aclose(self) -> None:
        """End what is under way."""
        if self._fetch is not None:
            self._fetch.cancel()
            await asyncio.gather(self._fetch, return_exceptions=True)
        await self._http.aclose()

    def _find(self, algorithm: str, key_id: str | None) -> PublicKey | None:
        fitting = [
            key
            for known_id, only_for, key in self._keys
            if (key_id is None or known_id == key_id) and only_for in (None, algorithm) and fits(algorithm, key)
        ]
        # Without an id there must be no choice.
        return fitting[0] if len(fitting) == 1 else None

    async def _refresh(self) -> None:
        task = self._begin()
        if task is not None:
            # Whoever waits may give up; the fetch goes on for the others.
            await asyncio.shield(task)

    def _begin(self) -> "asyncio.Task[None] | None":
        if self._fetch is None and self._clock() >= self._not_before:
            self._fetch = asyncio.create_task(self._update())
        return self._fetch

    async def _update(self) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS_MAX):
                self._keys = usable_keys(await self._read(), self._algorithms)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            self._is_away = True
            self._not_before = self._clock() + AGAIN_AFTER_FAILURE_SECONDS
            logger.warning("keys could not be fetched from %s: %s", self._url, str(error) or type(error).__name__)
        else:
            self._is_away = False
            self._fetched_at = self._clock()
            self._not_before = self._fetched_at + AGAIN_SECONDS
        finally:
            self._fetch = None

    async def _read(self) -> bytes:
        async with self._http.stream("GET", self._url) as response:
            if response.status_code != 200:
                raise ValueError(f"answered {response.status_code}")
            body = bytearray()
            # Raw: what is packed could be of any size when unpacked, and was not asked for.
            async for part in response.aiter_raw():
                body += part
                if len(body) > BODY_BYTES_MAX:
                    raise ValueError(f"more than {BODY_BYTES_MAX:,} bytes")
            return bytes(body)


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


def usable_keys(body: bytes, algorithms: Sequence[str]) -> list[tuple[str | None, str | None, PublicKey]]:
    """The keys of a JWK set that may verify signatures: id, the one algorithm it is for if it says so, key.

    Raises:
        ValueError: it is no JWK set, has more than KEYS_MAX keys, or none that can be used.
    """
    try:
        published = msgspec.json.decode(body, type=_KeySet).keys
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise ValueError(f"no JWK set: {error}") from error
    if len(published) > KEYS_MAX:
        raise ValueError(f"{len(published):,} keys, more than {KEYS_MAX}")
    found = []
    for one in published:
        # Shared secrets are not published; a set that has some would let anybody sign.
        if one.get("kty") not in ("RSA", "EC") or one.get("use", "sig") != "sig":
            continue
        try:
            key: Any = jwt.PyJWK(one).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue
        if any(fits(algorithm, key) for algorithm in algorithms):
            found.append((one.get("kid"), one.get("alg"), key))
    if not found:
        raise ValueError("no key in it can be used")
    return found
