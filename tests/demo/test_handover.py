"""Records on their way while tiles split and merge: each is read once, from the stream of the tile it belongs to."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import h3.api.basic_int as h3
import numpy as np
import pytest
from redis.asyncio import Redis

from subgraph.client.manager import Takeover
from subgraph.demo import channel as demo_channel
from subgraph.demo.channel import RECORD, Records, TileChannel
from subgraph.demo.handover import Handover
from subgraph.domain.ids import SessionId, TileId, tile_id
from subgraph.domain.succession import children_of
from tests.support.own_valkey import own_valkey

pytestmark = pytest.mark.anyio

CELL = h3.latlng_to_cell(40.0, -100.0, 4)
TILE = tile_id(SessionId("session"), CELL)
CHILDREN = children_of(TILE)
SPLIT = [Takeover(child, epoch, (TILE,)) for epoch, child in enumerate(CHILDREN, 8)]
MERGED = Takeover(TILE, 20, CHILDREN)


@pytest.fixture
async def redis(tmp_path: Any) -> AsyncIterator[Redis]:
    async with own_valkey(tmp_path) as server, Redis.from_url(server.url) as client:
        yield client


@pytest.fixture
def channel(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> TileChannel:
    # Nobody sends while a test reads: what is not there does not come.
    monkeypatch.setattr(demo_channel, "READ_BLOCK_MS", None)
    return TileChannel(redis)


@pytest.fixture
def handover(redis: Redis) -> Handover:
    return Handover(redis)


def records(*flights: int) -> Records:
    """A record of each flight, at a place inside the tile that is the flight's own."""
    cells = h3.cell_to_children(CELL, 7)
    packed = np.zeros(len(flights), RECORD)
    for row, flight in enumerate(flights):
        packed["flight"][row] = flight
        packed["lat"][row], packed["lng"][row] = h3.cell_to_latlng(cells[flight % len(cells)])
    return packed


def tile_of(record: Any, resolution: int = 5) -> TileId:
    finest = h3.latlng_to_cell(float(record["lat"]), float(record["lng"]), 15)
    return tile_id(SessionId("session"), h3.cell_to_parent(finest, resolution))


async def read(channel: TileChannel, *tiles: str, after: int = 0) -> dict[str, dict[int, Any]]:
    """The records in streams after a sequence, per tile by sequence."""
    found = await channel.read(dict.fromkeys(tiles, after))
    return {
        # A batch of which the sink has accepted a part is read as a whole.
        tile: {one.sequence: np.frombuffer(one.payload, RECORD)[0] for one in ones if one.sequence > after}
        for tile, ones in found.items()
    }


async def flights_in(channel: TileChannel, *tiles: str) -> list[int]:
    found = await read(channel, *tiles)
    return sorted(int(one["flight"]) for ones in found.values() for one in ones.values())


async def test_what_is_left_of_a_tile_that_splits_goes_to_its_children_by_place(
    channel: TileChannel, handover: Handover
) -> None:
    await channel.send({TILE: records(*range(30))})
    await channel.send({TILE: records(*range(30, 60))})
    # The sink has accepted up to the middle of a batch.
    await handover.take_over(SPLIT, {TILE: 40})
    found = await read(channel, *CHILDREN)
    assert {int(one["flight"]) for ones in found.values() for one in ones.values()} == set(range(40, 60))
    for child, ones in found.items():
        assert {tile_of(one) for one in ones.values()} == {child}
        assert list(ones) == list(range(1, len(ones) + 1))
    assert await read(channel, TILE) == {}


async def test_a_replaced_tiles_stream_takes_nothing_more_and_the_others_do(
    channel: TileChannel, handover: Handover
) -> None:
    await channel.send({TILE: records(1)})
    await handover.take_over(SPLIT, {TILE: 1})
    assert await channel.send({TILE: records(2), CHILDREN[0]: records(3), CHILDREN[1]: records(4)}) == {TILE}
    assert channel.sent == 3
    assert await flights_in(channel, TILE, *CHILDREN) == [3, 4]
    assert await channel.send({}) == set()


async def test_a_merged_tile_goes_on_after_what_was_accepted_of_it(channel: TileChannel, handover: Handover) -> None:
    await channel.send({TILE: records(*range(10))})
    await handover.take_over(SPLIT, {TILE: 6})
    for flight in range(100, 120):
        await channel.send({tile_of(one): np.array([one]) for one in records(flight)})
    accepted: dict[str, int] = dict.fromkeys(CHILDREN, 1)
    left = await read(channel, *CHILDREN, after=1)
    await handover.take_over([MERGED], accepted)
    assert await channel.send({CHILDREN[0]: records(1)}) == {CHILDREN[0]}
    assert await channel.send({TILE: records(200)}) == set()
    found = (await read(channel, TILE, after=6))[TILE]
    moved = [int(one["flight"]) for ones in left.values() for one in ones.values()]
    assert sorted(int(one["flight"]) for one in found.values()) == sorted([*moved, 200])
    # No sequence is left out, for the sink would miss it, and none comes again.
    assert sorted(found) == list(range(7, 7 + len(moved) + 1))
    # Split once more, the children go on as well.
    await handover.take_over([Takeover(child, epoch, (TILE,)) for epoch, child in enumerate(CHILDREN, 30)], {TILE: 7})
    again = await read(channel, *CHILDREN, after=1)
    assert sorted(int(one["flight"]) for ones in again.values() for one in ones.values()) == sorted([*moved, 200])[
        1:
    ] or sum(map(len, again.values())) == len(moved)
    assert all(min(ones) == 2 for ones in again.values())


async def test_parts_taken_over_by_several_pods_at_once_move_each_record_once(
    channel: TileChannel, redis: Redis
) -> None:
    for start in range(0, 200, 10):
        await channel.send({TILE: records(*range(start, start + 10))})
    await asyncio.gather(*(Handover(redis).take_over([one], {TILE: 3}) for one in SPLIT))
    assert await flights_in(channel, *CHILDREN) == list(range(3, 200))


async def test_a_takeover_that_is_cut_short_is_finished_by_the_next(
    channel: TileChannel, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    for start in range(0, 60, 10):
        await channel.send({TILE: records(*range(start, start + 10))})
    for calls in range(1, 8):
        cut = Handover(redis)
        task = asyncio.create_task(cut.take_over(SPLIT, {TILE: 0}))
        for _ in range(calls):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    await Handover(redis).take_over([Takeover(one.tile_id, one.epoch + 10, one.replaces) for one in SPLIT], {TILE: 0})
    assert await flights_in(channel, *CHILDREN) == list(range(60))


async def test_a_late_takeover_leaves_a_tile_alone_that_is_there_again(
    channel: TileChannel, handover: Handover
) -> None:
    await handover.take_over(SPLIT, {TILE: 0})
    await handover.take_over([MERGED], dict.fromkeys(CHILDREN, 0))
    await channel.send({TILE: records(1, 2, 3)})
    await handover.take_over(SPLIT[:1], {TILE: 0})
    assert await flights_in(channel, TILE) == [1, 2, 3]
    assert await channel.send({CHILDREN[0]: records(4)}) == {CHILDREN[0]}


async def test_what_is_left_goes_on_to_grandchildren_where_a_child_has_split_since(
    channel: TileChannel, handover: Handover
) -> None:
    grandchildren = children_of(CHILDREN[0])
    await channel.send({TILE: records(*range(100))})
    # Nobody ever worked on the first child: its parts replace it and what it replaced.
    taken = [Takeover(one, epoch, (CHILDREN[0], TILE)) for epoch, one in enumerate(grandchildren, 50)]
    await handover.take_over(taken, {TILE: 0, CHILDREN[0]: 0})
    await handover.take_over(SPLIT[1:], {TILE: 0})
    found = await read(channel, *grandchildren, *CHILDREN)
    assert CHILDREN[0] not in found
    for tile, ones in found.items():
        resolution = 6 if tile in grandchildren else 5
        assert {tile_of(one, resolution) for one in ones.values()} == {tile}
    assert await flights_in(channel, *grandchildren, *CHILDREN) == list(range(100))


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_the_order_of_splits_merges_and_records_none_is_lost_or_doubled(
    channel: TileChannel, handover: Handover, seed: int
) -> None:
    chance = random.Random(seed)
    accepted: dict[str, int] = {}
    seen: list[int] = []
    whole, epoch, flight = True, 1, 0

    async def work(share: float) -> None:
        for tile in (TILE, *CHILDREN):
            ones = (await read(channel, tile, after=accepted.get(tile, 0))).get(tile, {})
            for sequence in sorted(ones)[: int(share * len(ones) + 0.5)]:
                assert sequence == accepted.get(tile, 0) + 1
                accepted[tile] = sequence
                seen.append(int(ones[sequence]["flight"]))

    for _ in range(30):
        batch = records(*range(flight, flight + chance.randint(1, 12)))
        flight += len(batch)
        if whole:
            assert not await channel.send({TILE: batch})
        else:
            by_tile = {child: batch[[tile_of(one) == child for one in batch]] for child in CHILDREN}
            assert not await channel.send({tile: part for tile, part in by_tile.items() if len(part)})
        await work(chance.random())
        if chance.random() < 0.4:
            epoch += 10
            if whole:
                taken = [Takeover(child, epoch + n, (TILE,)) for n, child in enumerate(CHILDREN)]
            else:
                taken = [Takeover(TILE, epoch, CHILDREN)]
            await handover.take_over(taken, {tile: accepted.get(tile, 0) for tile in (TILE, *CHILDREN)})
            whole = not whole
    await work(1.0)
    assert sorted(seen) == list(range(flight))
