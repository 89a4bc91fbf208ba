"""Published keys, from an endpoint that rotates them, fails, and misbehaves."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from subgraph.adapters.jwt import jwks
from subgraph.adapters.jwt.jwks import Jwks, usable_keys
from subgraph.domain.errors import Unavailable
from subgraph.operations.authentication import Unauthenticated
from subgraph.settings.tokens import PUBLIC_ALGORITHMS
from tests.support.issuer import Endpoint, ec_key, jwk_of, published, rsa_key

pytestmark = pytest.mark.anyio

OLD, NEW, EC = rsa_key(), rsa_key(), ec_key()
OLD_JWK, NEW_JWK, EC_JWK = jwk_of(OLD, "old"), jwk_of(NEW, "new"), jwk_of(EC, "ec")


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def keys_of(endpoint: Endpoint, clock: Clock | None = None) -> AsyncIterator[Jwks]:
    keys = Jwks(endpoint.url, PUBLIC_ALGORITHMS, clock or Clock())
    try:
        yield keys
    finally:
        await keys.aclose()


async def until_asked(endpoint: Endpoint, times: int) -> None:
    async with asyncio.timeout(30):
        while endpoint.asked < times:
            await asyncio.sleep(0.01)


async def until_withdrawn(keys: Jwks, key_id: str) -> None:
    async with asyncio.timeout(30):
        with contextlib.suppress(Unauthenticated):
            while await keys.key("RS256", key_id):
                await asyncio.sleep(0.01)


async def test_keys_are_fetched_once_for_all_who_wait_and_kept() -> None:
    with published(OLD_JWK, EC_JWK) as endpoint:
        async with keys_of(endpoint) as keys:
            found = await asyncio.gather(*(keys.key("RS256", "old") for _ in range(50)))
            assert {key.public_numbers() for key in found} == {OLD.public_key().public_numbers()}
            assert (await keys.key("ES256", "ec")).public_numbers() == EC.public_key().public_numbers()
            assert endpoint.asked == 1


async def test_a_rotated_key_is_found_when_it_is_first_used() -> None:
    clock = Clock()
    with published(OLD_JWK) as endpoint:
        async with keys_of(endpoint, clock) as keys:
            await keys.key("RS256", "old")
            endpoint.publish(OLD_JWK, NEW_JWK)
            clock.now += jwks.AGAIN_SECONDS
            assert (await keys.key("RS256", "new")).public_numbers() == NEW.public_key().public_numbers()
            assert endpoint.asked == 2


async def test_key_ids_that_are_made_up_do_not_make_us_ask_all_the_time() -> None:
    with published(OLD_JWK) as endpoint:
        async with keys_of(endpoint) as keys:
            for made_up in range(100):
                with pytest.raises(Unauthenticated):
                    await keys.key("RS256", f"made-up-{made_up}")
            assert endpoint.asked == 1
            assert await keys.key("RS256", "old")


async def test_a_withdrawn_key_serves_no_more_once_the_keys_were_fetched_anew() -> None:
    clock = Clock()
    with published(OLD_JWK, NEW_JWK) as endpoint:
        async with keys_of(endpoint, clock) as keys:
            await keys.key("RS256", "old")
            endpoint.publish(NEW_JWK)
            clock.now += jwks.FRESH_SECONDS
            await keys.key("RS256", "new")  # begins a fetch and does not wait for it
            await until_asked(endpoint, 2)
            await until_withdrawn(keys, "old")


async def test_while_the_endpoint_is_away_the_known_keys_serve_for_a_bounded_time() -> None:
    clock = Clock()
    with published(OLD_JWK) as endpoint:
        async with keys_of(endpoint, clock) as keys:
            await keys.key("RS256", "old")
            endpoint.status = 500
            clock.now += jwks.STALE_SECONDS_MAX - 1
            assert await keys.key("RS256", "old")
            clock.now += 1 + jwks.AGAIN_AFTER_FAILURE_SECONDS
            with pytest.raises(Unavailable):
                await keys.key("RS256", "old")
            endpoint.status = 200
            clock.now += jwks.AGAIN_AFTER_FAILURE_SECONDS
            assert await keys.key("RS256", "old")


async def test_an_unknown_key_while_the_endpoint_is_away_is_not_called_false() -> None:
    clock = Clock()
    with published(OLD_JWK) as endpoint:
        async with keys_of(endpoint, clock) as keys:
            await keys.key("RS256", "old")
            endpoint.status = 500
            clock.now += jwks.AGAIN_SECONDS
            with pytest.raises(Unavailable):
                await keys.key("RS256", "new")


async def test_a_failing_endpoint_is_asked_only_so_often() -> None:
    clock = Clock()
    with published() as endpoint:
        endpoint.status = 503
        async with keys_of(endpoint, clock) as keys:
            for _ in range(20):
                with pytest.raises(Unavailable):
                    await keys.key("RS256", "old")
            assert endpoint.asked == 1
            clock.now += jwks.AGAIN_AFTER_FAILURE_SECONDS
            with pytest.raises(Unavailable):
                await keys.key("RS256", "old")
            assert endpoint.asked == 2


async def test_an_endpoint_that_does_not_answer_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS_MAX", 0.2)
    with published(OLD_JWK) as endpoint:
        endpoint.silent_seconds = 1.0
        async with keys_of(endpoint) as keys:
            with pytest.raises(Unavailable):
                await keys.key("RS256", "old")


async def test_waiting_for_the_endpoint_holds_nobody_else_up() -> None:
    with published(OLD_JWK) as endpoint:
        endpoint.silent_seconds = 0.3
        async with keys_of(endpoint) as keys:
            waiting = asyncio.create_task(keys.key("RS256", "old"))
            turns = 0
            while not waiting.done():
                turns += 1
                await asyncio.sleep(0.01)
            assert await waiting
            assert turns > 5


async def test_whoever_gives_up_waiting_does_not_spoil_it_for_the_others() -> None:
    with published(OLD_JWK) as endpoint:
        endpoint.silent_seconds = 0.2
        async with keys_of(endpoint) as keys:
            one, other = (asyncio.create_task(keys.key("RS256", "old")) for _ in range(2))
            await until_asked(endpoint, 1)
            one.cancel()
            assert await other


@pytest.mark.parametrize("what", ["too large", "packed", "redirect", "no JSON", "too many", "nothing usable"])
async def test_what_is_no_key_set_of_a_sane_size_is_not_taken(what: str) -> None:
    with published(OLD_JWK) as endpoint:
        good = endpoint.body
        if what == "too large":
            endpoint.body = good + b" " * jwks.BODY_BYTES_MAX
        elif what == "packed":
            endpoint.body, endpoint.headers = gzip.compress(good), {"Content-Encoding": "gzip"}
        elif what == "redirect":
            endpoint.status, endpoint.headers = 302, {"Location": endpoint.url}
        elif what == "no JSON":
            endpoint.body = b"<html>"
        elif what == "too many":
            endpoint.publish(*[OLD_JWK] * (jwks.KEYS_MAX + 1))
        else:
            endpoint.publish({"kty": "oct", "k": "c2VjcmV0", "kid": "old"})
        async with keys_of(endpoint) as keys:
            with pytest.raises(Unavailable):
                await keys.key("RS256", "old")
            assert endpoint.asked == 1


async def test_nonsense_after_good_keys_leaves_these_in_place() -> None:
    clock = Clock()
    with published(OLD_JWK) as endpoint:
        async with keys_of(endpoint, clock) as keys:
            await keys.key("RS256", "old")
            endpoint.body = b"null"
            clock.now += jwks.FRESH_SECONDS
            await keys.key("RS256", "old")
            await until_asked(endpoint, 2)
            assert await keys.key("RS256", "old")


async def test_without_a_key_id_there_must_be_no_choice() -> None:
    with published(OLD_JWK, EC_JWK) as endpoint:
        async with keys_of(endpoint) as keys:
            assert (await keys.key("RS256", None)).public_numbers() == OLD.public_key().public_numbers()
    with published(OLD_JWK, NEW_JWK) as endpoint:
        async with keys_of(endpoint) as keys:
            with pytest.raises(Unauthenticated):
                await keys.key("RS256", None)


async def test_a_key_serves_only_the_algorithm_it_is_for() -> None:
    with published(jwk_of(OLD, "old", alg="RS256"), EC_JWK) as endpoint:
        async with keys_of(endpoint) as keys:
            assert await keys.key("RS256", "old")
            for algorithm, key_id in (("RS512", "old"), ("ES256", "old"), ("RS256", "ec"), ("HS256", "old")):
                with pytest.raises(Unauthenticated):
                    await keys.key(algorithm, key_id)


def test_shared_secrets_keys_to_encrypt_with_and_weak_ones_are_left_out() -> None:
    weak, oct_key = jwk_of(rsa_key(1024), "weak"), {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"}
    mixed = [weak, oct_key, jwk_of(NEW, "enc", use="enc"), {"kty": "RSA"}, {"kid": "?"}, OLD_JWK]
    assert [key_id for key_id, _, _ in usable_keys(json.dumps({"keys": mixed}).encode(), PUBLIC_ALGORITHMS)] == ["old"]


async def test_keys_on_this_machine_are_fetched_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with published(NEW_JWK) as proxy, published(OLD_JWK) as endpoint:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/jwks.json"))
        monkeypatch.setenv("no_proxy", "")
        async with keys_of(endpoint) as keys:
            await keys.key("RS256", "old")
        assert (endpoint.asked, proxy.asked) == (1, 0)
