"""What strangers or other versions leave in Redis: nobody who reads it ends, and everything else goes on."""

import asyncio

import msgspec
import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.changes import FleetChange, FleetSnapshot
from subgraph.operations.fleet.fleet_writes import Leadership, TileWrite
from tests.support.fleets import T1, T2, A, tile
from tests.support.leading import lead

pytestmark = pytest.mark.anyio

MESSAGES = [
    b"",
    b"plain text",
    b"\xc1",
    msgspec.msgpack.encode(5),
    msgspec.msgpack.encode({"change": 1}),
    msgspec.msgpack.encode(["cycle", "no cycle"]),
    msgspec.msgpack.encode(["change", "0", "1", {}]),
    msgspec.msgpack.encode(["change", "a", "b", [], [], []]),
    msgspec.msgpack.encode(["change", "0", "9007199254740991", [T1], [], []]),
    msgspec.msgpack.encode(["change", "0", "9007199254740991", [T1, "{}"], [], []]),
    msgspec.msgpack.encode(["change", "0", "9007199254740991", ["no tile", '["tenant"]'], [], []]),
]


@pytest.fixture
async def leadership(live: RedisLiveFleet) -> Leadership:
    return await lead(live)


@pytest.mark.parametrize("message", MESSAGES)
async def test_a_message_that_cannot_be_read_is_passed_over(
    live: RedisLiveFleet, leadership: Leadership, redis: Redis, fleet_id: str, message: bytes
) -> None:
    told = live.follow()
    assert isinstance(await anext(told), FleetSnapshot)
    await redis.publish(fleet_key(fleet_id, "changes"), message)
    committed = await live.commit(None, [TileWrite(T1, 0, tile())])
    change = await asyncio.wait_for(anext(told), 30)
    assert isinstance(change, FleetChange)
    assert change.version == committed.version


@pytest.mark.parametrize("stored", ["", "no version", "1|", "1|{}", '1|["tenant", "no number"]', 'x|["tenant"]'])
async def test_a_record_that_cannot_be_read_makes_the_store_unavailable_and_is_never_guessed(
    live: RedisLiveFleet, leadership: Leadership, redis: Redis, fleet_id: str, stored: str
) -> None:
    await live.commit(None, [TileWrite(T2, 0, tile())])
    await redis.hset(fleet_key(fleet_id, "tiles"), T1, stored)
    await redis.hset(fleet_key(fleet_id, "pods"), A, stored)
    for reading in (anext(live.follow()), live.read_tiles([T1, T2]), live.read_pod(A)):
        with pytest.raises(Unavailable, match="cannot be read"):
            await reading
    assert set(await live.read_tiles([T2])) == {T2}


async def test_a_pause_that_cannot_be_read_makes_the_pulse_unavailable(
    live: RedisLiveFleet, redis: Redis, fleet_id: str
) -> None:
    await redis.set(fleet_key(fleet_id, "pause"), "no pause")
    with pytest.raises(Unavailable, match="cannot be read"):
        await live.beat()
