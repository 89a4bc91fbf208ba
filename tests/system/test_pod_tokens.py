"""A pod whose tokens are short-lived shows a new one with every call, and keeps its lease and its stream."""

import asyncio
from pathlib import Path

import pytest

from subgraph.client.connection import Connection
from subgraph.client.manager import Unreachable
from tests.support.issuer import ec_key, jwk_of, published, token
from tests.support.server import running_server

pytestmark = pytest.mark.anyio

KEY = ec_key()
TOKEN_SECONDS = 1.5
POD = {"id": "pod-1", "service": "test", "capacity": 1.0}


async def test_a_pod_outlives_its_tokens_and_one_with_a_single_token_does_not(tmp_path: Path) -> None:
    shown: list[str] = []

    async def fresh() -> str:
        shown.append(token(KEY, "ES256", "k1", TOKEN_SECONDS, scope="pod"))
        return shown[-1]

    with (
        published(jwk_of(KEY, "k1")) as issuer,
        running_server(
            tmp_path / "data", SESSION_MANAGER_JWT_JWKS_URL=issuer.url, SESSION_MANAGER_JWT_LEEWAY_SECONDS="0"
        ) as server,
    ):
        url = f"{server.url}/graphql"
        async with Connection(url, fresh) as renewed, Connection(url, await fresh()) as single:
            lease, first = await renewed.register(POD)
            follows = renewed.follow("pod-1", lease, None)
            await anext(follows)
            with pytest.raises(Unreachable, match="the subscription ended"):
                await anext(follows)
            with pytest.raises(Unreachable, match="not accepted"):
                await single.heartbeat("pod-1", lease, first.version)
            await renewed.heartbeat("pod-1", lease, first.version)
            again = renewed.follow("pod-1", lease, None)
            assert (await asyncio.wait_for(anext(again), 30)).is_snapshot
            await again.aclose()
    assert len(set(shown)) == len(shown) >= 5
