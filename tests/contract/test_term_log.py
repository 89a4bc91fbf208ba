"""The log of terms on a real Valkey: written in one step with the change itself, bounded, and kept until forgotten."""

import msgspec
import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis import term_log
from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.redis.term_log import RedisTermLog
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.domain.fleet.terms import TermChange, TermFacts
from subgraph.domain.ids import PodId, TenantId
from subgraph.domain.ownership import AssignmentState, TileRecord
from subgraph.operations.fleet.fleet_writes import Leadership, PodLease, TileWrite
from subgraph.operations.history.term_history import LoggedChange, LoggedStretch
from tests.support.fleets import T1, T2, T3, TENANT, A, B, held, pod, term, tile, tile_ids
from tests.support.leading import lead
from tests.support.own_valkey import kill

pytestmark = pytest.mark.anyio

EMPTY = LoggedStretch((), None, has_more=False)


@pytest.fixture
async def leadership(live: RedisLiveFleet) -> Leadership:
    return await lead(live)


@pytest.fixture
def log(redis: Redis, fleet_id: str) -> RedisTermLog:
    return RedisTermLog(redis, fleet_id)


async def write(live: RedisLiveFleet, *writes: tuple[int, TileRecord | None]) -> int:
    """Write the first tile over and over: the expected version, and the record."""
    version = 0
    for expected, record in writes:
        version = (await live.commit(None, [TileWrite(T1, expected or version, record)])).version
    return version


async def test_a_change_of_terms_is_logged_with_what_was_before_and_its_time(
    live: RedisLiveFleet, leadership: Leadership, log: RedisTermLog
) -> None:
    begun_ms = (await live.beat()).now_ms
    records = [tile(owner=term(A, 7)), tile(owner=held(PodId("ü|"), 9), draining=held(A, 7)), None]
    versions: list[int] = []
    for before, after in zip([0, *records], records, strict=False):
        versions.append((await live.commit(None, [TileWrite(T1, versions[-1] if before else 0, after)])).version)
    stretch = await log.read()
    assert [(one.version, one.tile_id, one.before, one.after) for one in stretch.changes] == [
        (versions[0], T1, None, records[0]),
        (versions[1], T1, records[0], records[1]),
        (versions[2], T1, records[1], None),
    ]
    assert all(begun_ms <= one.at_ms <= begun_ms + 60_000 for one in stretch.changes)


async def test_tiles_without_terms_are_not_logged(
    live: RedisLiveFleet, leadership: Leadership, log: RedisTermLog
) -> None:
    await write(live, (0, tile()), (0, tile(capacity=2.0, last_epoch=3, pin=A)), (0, None))
    assert await log.read() == EMPTY


async def test_what_was_not_written_is_not_logged(
    live: RedisLiveFleet, leadership: Leadership, log: RedisTermLog
) -> None:
    await live.register_pod(A, pod(lease_token="t"))
    version = await write(live, (0, tile()))
    owned = tile(owner=held(A, 7))
    await live.commit(leadership, [TileWrite(T1, version - 1, owned), TileWrite(T2, 0, owned)])
    with pytest.raises(LeaseLost):
        await live.commit(PodLease(A, "another"), [TileWrite(T3, 0, owned)])
    assert [one.tile_id for one in (await log.read()).changes] == [T2]


async def test_it_is_read_from_the_oldest_on_until_it_is_forgotten(
    live: RedisLiveFleet, leadership: Leadership, log: RedisTermLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(term_log, "ENTRIES_PER_READ", 2)
    ids = tile_ids(5)
    for n, one in enumerate(ids, 1):
        await live.commit(None, [TileWrite(one, 0, tile(owner=held(A, n)))])
    assert (await live.beat()).unrecorded_changes == 5
    first = await log.read()
    assert ([one.tile_id for one in first.changes], first.has_more) == (ids[:2], True)
    assert await log.read() == first
    for _ in range(2):
        await log.forget(first.end or 0)
        assert (await live.beat()).unrecorded_changes == 3
    second = await log.read()
    assert [one.tile_id for one in second.changes] == ids[2:4]
    await log.forget(second.end or 0)
    await log.forget(first.end or 0)
    last = await log.read()
    assert ([one.tile_id for one in last.changes], last.has_more) == (ids[4:], False)
    assert (await live.beat()).unrecorded_changes == 1
    await log.forget(last.end or 0)
    assert await log.read() == EMPTY
    assert (await live.beat()).unrecorded_changes == 0


async def test_a_change_of_many_tiles_is_logged_whole(
    live: RedisLiveFleet, leadership: Leadership, log: RedisTermLog
) -> None:
    ids = tile_ids(1_000)
    await live.commit(None, [TileWrite(one, 0, tile(owner=held(A, n))) for n, one in enumerate(ids, 1)])
    stretch = await log.read()
    assert [one.tile_id for one in stretch.changes] == ids
    assert (await live.beat()).unrecorded_changes == stretch.end == 1_000


async def test_beyond_its_bound_the_oldest_are_dropped_and_counted(
    redis: Redis, bus: RedisEventBus, fleet_id: str, log: RedisTermLog
) -> None:
    live = RedisLiveFleet(redis, bus, fleet_id, unrecorded_changes_max=4)
    await lead(live)
    ids = tile_ids(20)
    for n, one in enumerate(ids[:10], 1):
        await live.commit(None, [TileWrite(one, 0, tile(owner=held(A, n)))])
    assert [one.tile_id for one in (await log.read()).changes] == ids[6:10]
    beat = await live.beat()
    assert (beat.unrecorded_changes, beat.dropped_changes) == (4, 6)
    # What one change made of many tiles is never told in part.
    await live.commit(None, [TileWrite(one, 0, tile(owner=held(A, n))) for n, one in enumerate(ids[10:], 11)])
    stretch = await log.read()
    assert [one.tile_id for one in stretch.changes] == ids[10:]
    beat = await live.beat()
    assert (beat.unrecorded_changes, beat.dropped_changes) == (10, 10)
    await log.forget(stretch.end or 0)
    beat = await live.beat()
    assert (beat.unrecorded_changes, beat.dropped_changes) == (0, 10)


async def test_what_others_write_into_the_stream_is_passed_over_and_forgotten(
    redis: Redis, fleet_id: str, log: RedisTermLog
) -> None:
    record = '["tenant"]'
    wrong: list[object] = [
        b"\xc1",
        "x",
        ["1", "2"],
        ["1", "2", [T1, ""]],
        ["x", "2", [T1, "", record]],
        ["1", "2", ["x", "", record]],
        ["1", "2", [T1, "", "{"]],
        ["1", "2", [T1, "", "[1]"]],
        ["1", "2", [T1, 7, record]],
    ]
    key = fleet_key(fleet_id, "terms")
    await redis.xadd(key, {"x": "y"}, id="1-0")
    for number, one in enumerate(wrong, 2):
        packed = one if isinstance(one, bytes) else msgspec.msgpack.encode(one)
        await redis.xadd(key, {"changes": packed}, id=f"{number}-0")
    right = ["1", "2", [T1, "", record]]
    await redis.xadd(key, {"changes": msgspec.msgpack.encode(right)}, id="100-0")
    stretch = await log.read()
    assert stretch.changes == (LoggedChange(1, 2, T1, None, TileRecord(TenantId("tenant"))),)
    assert stretch.end == 100
    await log.forget(stretch.end)
    assert await log.read() == EMPTY


async def test_it_survives_the_store_s_sudden_end(valkey: EmbeddedValkey, fleet_id: str) -> None:
    client = connect(valkey.url)
    bus = RedisEventBus(client)
    live, log = RedisLiveFleet(client, bus, fleet_id), RedisTermLog(client, fleet_id)
    await lead(live)
    await live.commit(None, [TileWrite(T1, 0, tile(owner=held(A, 7)))])
    # On a busy disk the append-only file may lag behind by a second or two.
    assert (await client.waitaof(1, 0, 10_000))[0] == 1
    await kill(valkey)
    with pytest.raises(Unavailable):
        await log.read()
    with pytest.raises(Unavailable):
        await log.forget(1)
    await valkey.start()
    assert [one.tile_id for one in (await log.read()).changes] == [T1]
    await bus.aclose()
    await client.aclose()


def test_a_logged_change_says_what_became_of_each_term() -> None:
    before = tile(owner=held(A, 7, load=3.0), next=term(B, 9, ready=True))
    change = LoggedChange(20, 5_000, T1, before, tile(owner=held(B, 9), draining=held(A, 7, load=3.0), pin=B))
    assert change.facts() == [
        TermFacts(TermChange(T1, held(B, 9), AssignmentState.ACTIVE, pinned=True), TENANT, 20),
        TermFacts(TermChange(T1, held(A, 7, load=3.0), AssignmentState.DRAINING), TENANT, 20),
    ]
    lost = LoggedChange(21, 6_000, T1, tile(owner=held(A, 7)), tile(last_epoch=7))
    assert lost.facts() == [TermFacts(TermChange(T1, held(A, 7), AssignmentState.LOST, ended_at_ms=6_000), TENANT, 21)]
    gone = LoggedChange(22, 7_000, T1, tile(draining=held(A, 7)), None)
    assert gone.facts() == [
        TermFacts(TermChange(T1, held(A, 7), AssignmentState.RELEASED, ended_at_ms=7_000), TENANT, 22)
    ]
    assert LoggedChange(23, 8_000, T1, tile(), tile(capacity=1.0)).facts() == []
