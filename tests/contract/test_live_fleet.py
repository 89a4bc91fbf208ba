"""The live fleet on a real Valkey: what is written compares, who may write, and what everybody is told of it."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis import live_fleet
from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot, Versioned
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.fleet_writes import (
    TILES_PER_COMMIT_MAX,
    Committed,
    Guard,
    Leadership,
    NotLeading,
    PodLease,
    PodWrite,
    TileWrite,
)
from subgraph.operations.ports import SlowConsumer
from tests.contract.conftest import listening
from tests.support.fleets import SESSION, T1, T2, T3, A, B, held, pod, term, tile, tile_ids
from tests.support.leading import lead
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def leadership(live: RedisLiveFleet) -> Leadership:
    return await lead(live)


def new(*tiles: TileId) -> list[TileWrite]:
    return [TileWrite(one, 0, tile()) for one in tiles]


async def follow(live: RedisLiveFleet, into: list[FleetSnapshot | FleetChange | CycleReport]) -> None:
    async for told in live.follow():
        into.append(told)  # noqa: PERF401 — others look on while it grows


async def test_a_tile_is_read_as_it_was_written(live: RedisLiveFleet, leadership: Leadership) -> None:
    record = tile(owner=held(A, 7), next=term(B, 9), draining=held(PodId("ü|"), 5), capacity=2.5)
    committed = await live.commit(None, [TileWrite(T1, 0, record)])
    assert committed.version > 0
    assert await live.read_tiles([T1, T2]) == {T1: Versioned(committed.version, record)}
    assert await live.read_tiles([]) == {}


async def test_what_has_changed_underneath_is_told_and_not_written(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    first = (await live.commit(None, new(T1, T2))).version
    second = await live.commit(None, [TileWrite(T1, first, tile(last_epoch=1))])
    mixed = await live.commit(
        None, [TileWrite(T1, first, None), TileWrite(T2, first, tile(last_epoch=2)), TileWrite(T3, 5, tile())]
    )
    assert mixed.tile_conflicts == {T1, T3}
    assert await live.read_tiles([T1, T2, T3]) == {
        T1: Versioned(second.version, tile(last_epoch=1)),
        T2: Versioned(mixed.version, tile(last_epoch=2)),
    }


async def test_a_commit_of_which_nothing_is_left_is_no_change(live: RedisLiveFleet, leadership: Leadership) -> None:
    await live.commit(None, new(T1))
    before = (await live.beat()).published_version
    refused = await live.commit(None, new(T1))
    assert refused == Committed(0, frozenset({T1}))
    assert (await live.commit(None, [])).version == 0
    assert (await live.beat()).published_version == before


async def test_a_removed_tile_is_absent_and_can_come_again(live: RedisLiveFleet, leadership: Leadership) -> None:
    version = (await live.commit(None, new(T1))).version
    await live.commit(None, [TileWrite(T1, version, None)])
    assert await live.read_tiles([T1]) == {}
    assert not (await live.commit(None, new(T1))).tile_conflicts


async def test_one_of_many_who_write_the_same_tile_wins(live: RedisLiveFleet, leadership: Leadership) -> None:
    version = (await live.commit(None, new(T1))).version
    attempts = [live.commit(None, [TileWrite(T1, version, tile(last_epoch=n))]) for n in range(20)]
    done = await asyncio.gather(*attempts)
    winners = [n for n, committed in enumerate(done) if committed.version]
    assert len(winners) == 1
    assert (await live.read_tiles([T1]))[T1].record == tile(last_epoch=winners[0])


async def test_a_commit_is_bounded(live: RedisLiveFleet, leadership: Leadership) -> None:
    assert TILES_PER_COMMIT_MAX == 1_000
    ids = tile_ids(TILES_PER_COMMIT_MAX + 1)
    with pytest.raises(ValueError, match=f"at most {TILES_PER_COMMIT_MAX}"):
        await live.commit(None, new(*ids))
    assert await live.read_tiles(ids) == {}
    assert (await live.commit(None, new(*ids[:-1]))).version
    assert len(await live.read_tiles(ids)) == TILES_PER_COMMIT_MAX


async def test_what_a_session_requires_is_told_and_never_replaced_by_an_earlier_revisions(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    told: list[FleetSnapshot | FleetChange | CycleReport] = []
    follower = asyncio.create_task(follow(live, told))
    await eventually(lambda: told, "a snapshot")
    written = await live.require(SESSION, SessionRequirement(2, {"zone": "ü|"}))
    assert written > 0
    assert await live.require(SESSION, SessionRequirement(1, {})) == 0
    assert await live.require(SESSION, SessionRequirement(2, {})) == 0
    gone = await live.require(SESSION, None)
    assert await live.require(SESSION, None) == 0
    assert await live.require(SESSION, SessionRequirement(1, {"gpu": "yes"})) > gone > written
    await eventually(lambda: len(told) == 4, "every change")
    follower.cancel()
    changes = [one for one in told if isinstance(one, FleetChange)]
    assert [change.requirements for change in changes] == [
        {SESSION: SessionRequirement(2, {"zone": "ü|"})},
        {SESSION: None},
        {SESSION: SessionRequirement(1, {"gpu": "yes"})},
    ]
    snapshot = await anext(live.follow())
    assert isinstance(snapshot, FleetSnapshot)
    assert snapshot.requirements == {SESSION: SessionRequirement(1, {"gpu": "yes"})}


async def test_nothing_is_required_before_anybody_has_led(live: RedisLiveFleet) -> None:
    with pytest.raises(Unavailable):
        await live.require(SESSION, SessionRequirement(1, {"gpu": "yes"}))


async def test_a_pod_is_lost_only_if_its_lease_has_ended(live: RedisLiveFleet, leadership: Leadership) -> None:
    version, record = await live.register_pod(A, pod(lease_ms=200))
    lost = [PodWrite(A, version, record.with_status(PodStatus.LOST, 1), if_lease_ended=True)]
    assert (await live.commit(leadership, (), lost)).pod_conflicts == {A}
    assert await live.read_pod(A) == Versioned(version, record)

    async def is_lost() -> bool:
        return not (await live.commit(leadership, (), lost)).pod_conflicts

    await eventually(is_lost, "the lease ends")
    stored = await live.read_pod(A)
    assert stored is not None
    assert stored.record.status is PodStatus.LOST
    with pytest.raises(LeaseLost) as refused:
        await live.renew_lease(PodLease(A, record.lease_token), None)
    assert not refused.value.superseded


async def test_a_pod_that_renews_between_the_look_and_the_verdict_is_not_lost(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    version, record = await live.register_pod(A, pod(lease_ms=100))

    async def has_ended() -> bool:
        beat = await live.beat()
        return beat.leases[A] <= beat.now_ms

    await eventually(has_ended, "the lease ends")
    await live.renew_lease(PodLease(A, record.lease_token), None)
    lost = PodWrite(A, version, record.with_status(PodStatus.LOST, 1), if_lease_ended=True)
    assert (await live.commit(leadership, (), [lost])).pod_conflicts == {A}


async def test_a_tile_is_taken_from_a_lost_owner_only_while_no_instance_of_it_runs(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    version = (await live.commit(None, new(T1, T2))).version
    _, record = await live.register_pod(A, pod(lease_token="t"))
    taken = [TileWrite(T1, version, tile(last_epoch=1), lost_owner=A), TileWrite(T2, version, tile(last_epoch=1))]
    committed = await live.commit(leadership, taken[:1], groups=[[taken[1], TileWrite(T3, 0, tile(), lost_owner=A)]])
    assert committed == Committed(0, frozenset({T1, T2, T3}))
    await live.end_pod(PodLease(A, "t"), record.with_status(PodStatus.GONE, 1))
    committed = await live.commit(leadership, taken)
    assert committed.tile_conflicts == frozenset()
    assert (await live.read_tiles([T1]))[T1].record == tile(last_epoch=1)


async def test_pods_compare_too_and_a_forgotten_one_leaves_nothing(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    version, record = await live.register_pod(A, pod())
    stale = await live.commit(None, new(T1), [PodWrite(A, version - 1, None)])
    assert stale.pod_conflicts == {A}
    assert stale.version > version
    await live.commit(leadership, (), [PodWrite(A, version, None)])
    assert await live.read_pod(A) is None
    assert (await live.beat()).leases == {}
    with pytest.raises(LeaseLost):
        await live.renew_lease(PodLease(A, record.lease_token), None)


async def assert_refused(live: RedisLiveFleet, guard: Guard, failure: type[Exception]) -> Exception:
    """The guard is asked even when there is nothing to write, and a refused commit writes nothing."""
    with pytest.raises(failure):
        await live.commit(guard, [])
    with pytest.raises(failure) as refused:
        await live.commit(guard, new(T1), [PodWrite(B, 0, pod())])
    assert await live.read_tiles([T1]) == {}
    assert await live.read_pod(B) is None
    return refused.value


async def test_the_leader_and_operators_and_live_pods_may_write(live: RedisLiveFleet, leadership: Leadership) -> None:
    _, record = await live.register_pod(A, pod())
    guards: Sequence[Guard] = (leadership, PodLease(A, record.lease_token), None)
    for guard, one in zip(guards, (T1, T2, T3), strict=True):
        assert (await live.commit(guard, new(one))).version


async def test_a_deposed_leader_may_not_write(live: RedisLiveFleet, leadership: Leadership) -> None:
    await live.stop_leading(leadership)
    await assert_refused(live, leadership, NotLeading)
    newer = await lead(live, incarnation=2)
    await assert_refused(live, leadership, NotLeading)
    await assert_refused(live, Leadership(1, newer.token), NotLeading)
    await assert_refused(live, Leadership(2, leadership.token), NotLeading)
    assert (await live.commit(newer, new(T1))).version


async def test_a_leader_whose_lease_has_ended_may_not_write(live: RedisLiveFleet) -> None:
    leadership = await lead(live, lease_ms=50)

    async def has_ended() -> bool:
        return (await live.beat()).leader is None

    await eventually(has_ended, "the lease ends")
    await assert_refused(live, leadership, NotLeading)


async def test_a_fenced_instance_learns_that_another_one_runs(live: RedisLiveFleet, leadership: Leadership) -> None:
    await live.register_pod(A, pod(lease_token="former"))
    await live.register_pod(A, pod(lease_token="present"))
    refused = await assert_refused(live, PodLease(A, "former"), LeaseLost)
    assert isinstance(refused, LeaseLost)
    assert refused.superseded
    await live.commit(PodLease(A, "present"), [])


async def test_an_instance_that_has_left_or_never_came_learns_that_none_runs(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    _, record = await live.register_pod(A, pod(lease_token="t"))
    await live.end_pod(PodLease(A, "t"), record.with_status(PodStatus.GONE, 1))
    for lease in (PodLease(A, "t"), PodLease(PodId("unknown"), "t")):
        refused = await assert_refused(live, lease, LeaseLost)
        assert isinstance(refused, LeaseLost)
        assert not refused.superseded


async def test_everybody_is_told_every_change_in_an_unbroken_chain(
    live: RedisLiveFleet, leadership: Leadership, valkey_url: str, fleet_id: str
) -> None:
    other_client = connect(valkey_url)
    async with listening(other_client) as other_bus:
        other = RedisLiveFleet(other_client, other_bus, fleet_id)
        here: list[FleetSnapshot | FleetChange | CycleReport] = []
        there: list[FleetSnapshot | FleetChange | CycleReport] = []
        followers = [asyncio.create_task(follow(live, here)), asyncio.create_task(follow(other, there))]
        await eventually(lambda: here and there, "both follow")

        before_ms = (await live.beat()).now_ms
        first = (await live.commit(None, new(T1, T2))).version
        pod_version, record = await other.register_pod(A, pod())
        await live.reserve_versions(leadership, 10)
        second = (await other.commit(None, [TileWrite(T1, first, None)])).version
        third = await live.end_pod(PodLease(A, "t"), record.with_status(PodStatus.GONE, 1))
        await eventually(lambda: len(here) == len(there) == 5, "all changes are told")

        start, *changes = here
        assert isinstance(start, FleetSnapshot)
        times = [one.at_ms for one in changes if isinstance(one, FleetChange)]
        assert before_ms <= times[0]
        assert times == sorted(times)
        assert times[-1] <= (await live.beat()).now_ms
        expected = [
            FleetChange(start.version, first, {T1: tile(), T2: tile()}),
            FleetChange(first, pod_version, pods={A: record}),
            FleetChange(pod_version, second, {T1: None}),
            FleetChange(second, third, pods={A: record.with_status(PodStatus.GONE, 1)}),
        ]
        assert changes == there[1:] == expected
        assert (await live.beat()).published_version == third
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)
    await other_client.aclose()


async def test_a_snapshot_holds_all_there_is(live: RedisLiveFleet, leadership: Leadership) -> None:
    ids = [TileId(f"{session}:{one.partition(':')[2]}") for session in "abc" for one in tile_ids(1_000)]
    versions = [
        (await live.commit(None, new(*ids[start : start + 1_000]))).version for start in range(0, len(ids), 1_000)
    ]
    version, record = await live.register_pod(A, pod())
    told = await anext(live.follow())
    assert isinstance(told, FleetSnapshot)
    assert told.version == version
    assert told.pods == {A: Versioned(version, record)}
    assert told.tiles == {one: Versioned(versions[n // 1_000], tile()) for n, one in enumerate(ids)}


async def test_a_snapshot_taken_while_writes_go_on_and_the_changes_after_it_make_one_whole(
    live: RedisLiveFleet, leadership: Leadership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_fleet, "TILES_PER_SCAN", 50)
    ids = tile_ids(700)
    await live.commit(None, new(*ids))
    pictures: list[Fleet] = []

    async def keep_picture() -> None:
        fleet = Fleet()
        async for told in live.follow():
            if isinstance(told, FleetSnapshot):
                fleet.adopt(told)
                pictures.append(fleet)
            elif isinstance(told, FleetChange):
                fleet.apply(told)

    followers = []
    for turn in range(60):
        followers += [asyncio.create_task(keep_picture())] if turn % 6 == 0 else []
        part = ids[turn::60]
        stored = await live.read_tiles(part)
        after = {one: None if turn % 3 == 0 else tile(last_epoch=turn) for one in part}
        await live.commit(None, [TileWrite(one, stored[one].version, after[one]) for one in part])
    final = (await live.beat()).published_version
    await eventually(
        lambda: len(pictures) == 10 and all(fleet.version == final for fleet in pictures), "all pictures are current"
    )
    truth = {one: found.record for one, found in (await live.read_tiles(ids)).items()}
    for fleet in pictures:
        assert {one: fleet.record(one) for one, _ in fleet.tiles.items()} == truth
    for follower in followers:
        follower.cancel()
    await asyncio.wait(followers)


async def test_a_follower_that_is_too_slow_is_cut_off(
    live: RedisLiveFleet,
    leadership: Leadership,
    bus: RedisEventBus,
    fleet_id: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_fleet, "CHANGES_BUFFERED_MAX", 3)
    told = live.follow()
    assert isinstance(await anext(told), FleetSnapshot)
    for one in tile_ids(6):
        await live.commit(None, new(one))
    async with bus.subscribe(f"{fleet_id}-later"):
        pass  # its confirmation comes after all that was published before
    for _ in range(3):
        assert isinstance(await anext(told), FleetChange)
    with pytest.raises(SlowConsumer):
        await anext(told)


async def test_nothing_is_written_before_a_leader_has_set_an_incarnation(live: RedisLiveFleet) -> None:
    for write in (live.commit(None, new(T1)), live.register_pod(A, pod())):
        with pytest.raises(Unavailable):
            await write
    assert await live.read_tiles([T1]) == {}
    assert await live.read_pod(A) is None
    assert (await live.beat()).leases == {}
    assert isinstance(await anext(live.follow()), FleetSnapshot)


async def test_a_full_store_is_unavailable_and_nothing_is_half_written(valkey: EmbeddedValkey, fleet_id: str) -> None:
    client = connect(valkey.url)
    async with listening(client) as bus:
        live = RedisLiveFleet(client, bus, fleet_id)
        leadership = await lead(live)
        await client.config_set("maxmemory", "1")
        for write in (
            live.commit(leadership, new(T1)),
            live.reserve_versions(leadership, 1),
            live.register_pod(A, pod()),
        ):
            with pytest.raises(Unavailable):
                await write
        await client.config_set("maxmemory", "0")
        assert await live.read_tiles([T1]) == {}
        assert (await live.commit(leadership, new(T1))).version
    await client.aclose()


async def test_two_fleets_on_one_store_do_not_see_each_other(
    live: RedisLiveFleet, leadership: Leadership, redis: Redis, bus: RedisEventBus, fleet_id: str
) -> None:
    other = RedisLiveFleet(redis, bus, fleet_id + "-other")
    await lead(other, incarnation=7)
    await live.commit(None, new(T1))
    assert await other.read_tiles([T1]) == {}
    assert (await other.beat()).incarnation == 7
    assert (await live.beat()).incarnation == 1
