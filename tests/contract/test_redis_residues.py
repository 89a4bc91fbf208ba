"""The look through a real Redis for traces of an owner: every kind of value, of any size, and nobody else's."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis.client_sessions import RedisClientSessions
from subgraph.adapters.redis.entries import BYTES_PER_READ_MAX, BYTES_WHOLE_MAX, KEYS_PER_PAGE
from subgraph.adapters.redis.keys import session_key
from subgraph.adapters.redis.residues import RedisResidues
from subgraph.adapters.redis.session_codec import encode_copy
from subgraph.domain import sessions
from subgraph.domain.erasure import Traces
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import TenantId
from subgraph.domain.new_session import NewSession

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.requirement("A journal that is also the audit log; export, import, erase an owner"),
]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TENANT = TenantId("tenant")


@pytest.fixture
async def redis(redis: Redis) -> Redis:
    """One without what other tests have left: all of it is looked through."""
    await redis.flushdb()
    return redis


async def test_a_redis_with_too_much_in_it_is_not_said_to_be_clean(redis: Redis) -> None:
    key = f"session-manager:many:{uuid4().hex}"
    await redis.hset(key, mapping={str(n): "v" for n in range(50)})
    with pytest.raises(Unavailable, match="more than 20 entries"):
        await RedisResidues(redis, entries_max=20).residues(TENANT, Traces("ann", []))
    await redis.delete(key)


async def test_every_kind_of_value_in_redis_is_looked_into(redis: Redis) -> None:
    session_id, prefix = str(uuid4()), f"session-manager:kinds:{uuid4().hex}"
    await redis.set(f"{prefix}:string", session_id)
    await redis.hset(f"{prefix}:hash", session_id, "v")
    await redis.sadd(f"{prefix}:set", session_id)
    await redis.zadd(f"{prefix}:zset", {session_id: 1})
    await redis.rpush(f"{prefix}:list", *["v"] * 1_500, session_id)
    for n in range(1_001):
        await redis.xadd(f"{prefix}:stream", {"f": session_id if n == 1_000 else "v"})
    found = await RedisResidues(redis).residues(TENANT, Traces("ann", [session_id]))
    assert found == {f"redis {kind}": 1 for kind in ("string", "hash", "set", "zset", "list", "stream")}
    await redis.delete(*[name async for name in redis.scan_iter(match=f"{prefix}*")])


@pytest.mark.parametrize("kind", ["string", "hash", "set", "zset", "list", "stream"])
async def test_what_is_too_large_to_be_read_with_others_is_looked_into_to_its_end(redis: Redis, kind: str) -> None:
    session_id, key, long = str(uuid4()), f"session-manager:large:{uuid4().hex}", "v" * 1_000
    texts = [f"{number} {long}" for number in range(1_200)] + [session_id]
    match kind:
        case "string":
            await redis.set(key, "".join(texts))
        case "hash":
            await redis.hset(key, mapping=dict.fromkeys(texts, "v"))
        case "set":
            await redis.sadd(key, *texts)
        case "zset":
            await redis.zadd(key, dict.fromkeys(texts, 1))
        case "list":
            await redis.rpush(key, *texts)
        case _:
            for text in texts:
                await redis.xadd(key, {"f": text})
    assert (await redis.memory_usage(key) or 0) > BYTES_WHOLE_MAX
    assert await RedisResidues(redis).residues(TENANT, Traces("ann", [session_id])) == {f"redis {kind}": 1}
    await redis.delete(key)


async def test_of_many_keys_each_is_looked_into(redis: Redis) -> None:
    session_id, prefix = str(uuid4()), f"session-manager:many:{uuid4().hex}"
    keys = [f"{prefix}:{number}" for number in range(KEYS_PER_PAGE + 200)]
    # Together more than is read at once.
    await redis.mset({key: session_id + "v" * (2 * BYTES_PER_READ_MAX // len(keys)) for key in keys})
    traces = Traces("ann", [session_id])
    # A scan may come by one twice.
    assert (await RedisResidues(redis).residues(TENANT, traces))["redis string"] >= len(keys)
    assert (await RedisResidues(redis).forget(TENANT, traces))["redis string"] >= len(keys)
    assert await RedisResidues(redis).forget(TENANT, traces) == {}
    assert await redis.exists(*keys) == 0


@pytest.mark.parametrize("owner_id", ["owner", "count", "1", "ACTIVE", "SLIDING", "k"])
async def test_an_owner_who_is_called_like_a_word_of_the_softwares_takes_nobodys_claim_nor_copy(
    redis: Redis, owner_id: str
) -> None:
    clients = RedisClientSessions(redis, timedelta(minutes=1))
    await clients.claim(TENANT, "a chat", "bob")
    session = sessions.create(NewSession(details={"k": owner_id}), TENANT, "bob", NOW).created[0]
    await redis.set(session_key("fleet", TENANT, session.id, "run"), encode_copy(session), px=60_000)
    assert await RedisResidues(redis).forget(TENANT, Traces(owner_id, [])) == {}
    assert await redis.dbsize() == 2
    assert (await clients.claim(TENANT, "a chat", owner_id)).owner_id == "bob"
    assert await RedisResidues(redis).forget(TENANT, Traces("bob", [])) == {"redis hash": 1, "redis string": 1}
    assert await redis.dbsize() == 0
