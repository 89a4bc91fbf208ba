"""Groups of tiles that are written as a whole or not at all: on a real Valkey, and the twin that stands in for it."""

import asyncio
import random

import pytest

from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.domain.fleet.changes import FleetChange, FleetSnapshot, Versioned
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import TileRecord
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX, Leadership, NotLeading, TileWrite
from tests.support.commit_twin import CommitTwin
from tests.support.fleets import T1, T2, T3, tile, tile_ids
from tests.support.leading import lead
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

SIX = tile_ids(6)
T4, T5, _ = SIX[3:]


@pytest.fixture(params=["valkey", "twin"])
async def store(request: pytest.FixtureRequest, live: RedisLiveFleet) -> RedisLiveFleet | CommitTwin:
    """Whatever keeps the promise, ready to be written to."""
    if request.param == "twin":
        return CommitTwin()
    await lead(live)
    return live


def absent(*tiles: TileId, epoch: int = 0) -> list[TileWrite]:
    return [TileWrite(one, 0, tile(last_epoch=epoch)) for one in tiles]


async def test_a_group_is_one_change_with_what_is_written_beside_it(store: RedisLiveFleet | CommitTwin) -> None:
    committed = await store.commit(None, absent(T1), groups=[absent(T2, T3), absent(T4)])
    assert committed.tile_conflicts == frozenset()
    stored = await store.read_tiles([T1, T2, T3, T4])
    assert stored == dict.fromkeys((T1, T2, T3, T4), Versioned(committed.version, tile()))


@pytest.mark.parametrize("changed", [T2, T3, T4])
async def test_of_a_group_in_which_one_has_changed_nothing_is_written(
    store: RedisLiveFleet | CommitTwin, changed: TileId
) -> None:
    before = (await store.commit(None, absent(changed))).version
    committed = await store.commit(None, absent(T1, epoch=1), groups=[absent(T2, T3, T4, epoch=1), absent(T5)])
    assert committed.tile_conflicts == {T2, T3, T4}
    assert await store.read_tiles([T1, T2, T3, T4, T5]) == {
        T1: Versioned(committed.version, tile(last_epoch=1)),
        changed: Versioned(before, tile()),
        T5: Versioned(committed.version, tile()),
    }


async def test_a_group_removes_and_adds_in_one_step(store: RedisLiveFleet | CommitTwin) -> None:
    version = (await store.commit(None, absent(T1))).version
    committed = await store.commit(None, (), groups=[[TileWrite(T1, version, None), *absent(T2, T3)]])
    assert (await store.read_tiles([T1, T2, T3])).keys() == {T2, T3}
    again = await store.commit(
        None, (), groups=[[TileWrite(T1, version, None), TileWrite(T2, committed.version, None)]]
    )
    assert again.version == 0
    assert again.tile_conflicts == {T1, T2}
    assert (await store.read_tiles([T1, T2, T3])).keys() == {T2, T3}


async def test_a_commit_of_broken_groups_alone_is_no_change(store: RedisLiveFleet | CommitTwin) -> None:
    version = (await store.commit(None, absent(T1))).version
    refused = await store.commit(None, (), groups=[absent(T1, T2), [TileWrite(T3, version, tile())]])
    assert refused.version == 0
    assert refused.tile_conflicts == {T1, T2, T3}
    assert (await store.commit(None, (), groups=[[]])).version == 0


async def test_one_of_many_who_replace_the_same_tile_wins_whole(store: RedisLiveFleet | CommitTwin) -> None:
    version = (await store.commit(None, absent(T1))).version
    attempts = [
        store.commit(
            None,
            (),
            groups=[[TileWrite(T1, version, tile(last_epoch=n)), *absent(*((T2, T3) if n % 2 else (T4, T5)), epoch=n)]],
        )
        for n in range(1, 21)
    ]
    done = await asyncio.gather(*attempts)
    (winner,) = [n for n, committed in enumerate(done, 1) if committed.version]
    stored = await store.read_tiles([T1, T2, T3, T4, T5])
    assert {one: found.record.last_epoch for one, found in stored.items()} == dict.fromkeys(
        (T1, T2, T3) if winner % 2 else (T1, T4, T5), winner
    )


async def test_groups_count_towards_the_bound_and_a_tile_is_written_once(store: RedisLiveFleet | CommitTwin) -> None:
    ids = tile_ids(TILES_PER_COMMIT_MAX + 1)
    with pytest.raises(ValueError, match=f"at most {TILES_PER_COMMIT_MAX}"):
        await store.commit(None, absent(*ids[:500]), groups=[absent(*ids[500:])])
    for tiles, groups in (((T1, T1), ()), ((T1,), ((T1, T2),)), ((), ((T1, T2), (T2, T3)))):
        with pytest.raises(ValueError, match="once"):
            await store.commit(None, absent(*tiles), groups=[absent(*group) for group in groups])
    assert await store.read_tiles(ids) == {}


async def test_everybody_is_told_of_a_group_at_once(live: RedisLiveFleet) -> None:
    await lead(live)
    told: list[object] = []

    async def follow() -> None:
        async for one in live.follow():
            told.append(one)  # noqa: PERF401 — others look on while it grows

    following = asyncio.create_task(follow())
    await eventually(lambda: told, "it follows")
    start = told[0]
    assert isinstance(start, FleetSnapshot)
    version = (await live.commit(None, absent(T1), groups=[absent(T2, T3)])).version
    await eventually(lambda: len(told) > 1, "the change is told")
    assert told[1:] == [FleetChange(start.version, version, dict.fromkeys((T1, T2, T3), tile()))]
    following.cancel()
    await asyncio.wait([following])


async def test_a_deposed_leaders_group_is_not_written(live: RedisLiveFleet) -> None:
    leadership: Leadership = await lead(live)
    await live.stop_leading(leadership)
    with pytest.raises(NotLeading):
        await live.commit(leadership, (), groups=[absent(T1, T2)])
    assert await live.read_tiles([T1, T2]) == {}


def drawn(chance: random.Random, turn: int) -> list[list[tuple[TileId, int, TileRecord | None]]]:
    """Random writes in three parts: tile, by how much its version is mistaken, record."""
    chosen = chance.sample(SIX, chance.randint(0, 6))
    writes = [
        (one, int(chance.random() < 0.15), None if chance.random() < 0.3 else tile(last_epoch=turn)) for one in chosen
    ]
    first, second = sorted(chance.randint(0, len(writes)) for _ in range(2))
    return [writes[:first], writes[first:second], writes[second:]]


@pytest.mark.parametrize("seed", range(10))
async def test_the_twin_does_what_the_store_does(live: RedisLiveFleet, seed: int) -> None:
    await lead(live)
    chance, twin = random.Random(seed), CommitTwin()
    for turn in range(1, 40):
        parts, done = drawn(chance, turn), []
        for store in (live, twin):
            known = {one: found.version for one, found in (await store.read_tiles(SIX)).items()}
            alone, *groups = [
                [TileWrite(one, known.get(one, 0) + mistaken, record) for one, mistaken, record in part]
                for part in parts
            ]
            committed = await store.commit(None, alone, groups=groups)
            records = {one: found.record for one, found in (await store.read_tiles(SIX)).items()}
            done.append((committed.tile_conflicts, bool(committed.version), records))
        assert done[0] == done[1]
