"""Load reports on a real Valkey: read as they were handed in, bounded however many come, set aside when malformed."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from redis.typing import EncodableT, FieldT

from subgraph.adapters.redis import load_reports
from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.domain.ids import PodId, SessionId
from subgraph.domain.load_report import LoadReport, pack_report
from subgraph.operations.fleet.fleet_pulse import LoadReading
from subgraph.operations.fleet.fleet_writes import Leadership, PodLease
from tests.support.fleets import T1, T2, A, B, packed, pod, report
from tests.support.leading import lead
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

LEASE = PodLease(A, "t")
GOOD = packed(report(A, {T1: 1.0, T2: 2.0}, epoch=7))
COLUMNS: dict[str, bytes] = {name: getattr(GOOD, name) for name in load_reports.COLUMNS}
ENTRY: dict[str, str | bytes] = {"pod": "a", "sessions": "2 session", **COLUMNS}
MALFORMED: dict[str, dict[str, str | bytes]] = {
    "a stranger's entry": {"other": b""},
    "no session": {name: value for name, value in ENTRY.items() if name != "sessions"},
    "a session without a count": ENTRY | {"sessions": "session"},
    "sessions that are no text": ENTRY | {"sessions": b"2 \xff"},
    "a count too low": ENTRY | {"sessions": "1 session"},
    "a negative count": ENTRY | {"sessions": "3 session\n-1 other"},
    "half a number": ENTRY | {"cells": COLUMNS["cells"][:-1]},
    "an epoch too few": ENTRY | {"epochs": COLUMNS["epochs"][:8]},
    "no rates": ENTRY | {"records_per_second": b""},
    "a backlog too few": ENTRY | {"backlog": COLUMNS["backlog"][:8]},
    "a rate that is no number": ENTRY | {"records_per_second": b"\xff" * 16},
    "a negative count of bytes": ENTRY | {"volume_bytes": b"\xff" * 16},
}


@pytest.fixture
async def leadership(live: RedisLiveFleet) -> Leadership:
    return await lead(live)


@pytest.fixture
async def owner(live: RedisLiveFleet, leadership: Leadership) -> PodLease:
    await live.register_pod(A, pod(lease_token="t"))
    return LEASE


async def read(readings: AsyncIterator[LoadReading]) -> LoadReading:
    return await asyncio.wait_for(anext(readings), 30)


def told(reading: LoadReading) -> list[tuple[str, str, float]]:
    """Pod, session and rate of each entry."""
    columns = reading.columns
    entries = zip(columns.report.tolist(), columns.session.tolist(), columns.records_per_second.tolist(), strict=True)
    return [(columns.pod_ids[of], columns.session_ids[session], rate) for of, session, rate in entries]


async def test_reports_of_the_last_seconds_are_replayed_and_then_followed(
    live: RedisLiveFleet, owner: PodLease
) -> None:
    before = (await live.beat()).now_ms
    await live.renew_lease(owner, None, GOOD)
    loads = live.follow_loads()
    reading = await read(loads)
    assert told(reading) == [("a", "session", 1.0), ("a", "session", 2.0)]
    assert reading.columns.epochs.tolist() == [7, 7]
    assert before <= reading.columns.at_ms[0] <= (await live.beat()).now_ms
    await live.renew_lease(owner, None, packed(report(A, {T1: 3.0})))
    assert told(await read(loads)) == [("a", "session", 3.0)]


async def test_every_column_is_read_as_it_was_handed_in(live: RedisLiveFleet, owner: PodLease) -> None:
    sessions = [SessionId("ü"), SessionId("two words"), SessionId("ü")]
    await live.renew_lease(
        owner,
        None,
        pack_report(A, sessions, [5, 6, 7], [1, 2, 3], [0.5, 1, 2], [4, 5, 6], [7, 8, 9], [2**53 - 1, 1, 2]),
    )
    reading = await read(live.follow_loads())
    columns = reading.columns
    assert told(reading) == [("a", "ü", 0.5), ("a", "ü", 2.0), ("a", "two words", 1.0)]
    assert [columns.cells.tolist(), columns.epochs.tolist()] == [[5, 7, 6], [1, 3, 2]]
    assert [columns.bytes_per_second.tolist(), columns.volume_bytes.tolist()] == [[4.0, 6.0, 5.0], [7, 9, 8]]
    assert columns.backlog.tolist() == [2**53 - 1, 2, 1]


async def test_columns_that_a_pod_does_not_measure_may_be_left_out(live: RedisLiveFleet, owner: PodLease) -> None:
    short = msgspec.structs.replace(GOOD, bytes_per_second=b"", volume_bytes=b"", backlog=b"")
    await live.renew_lease(owner, None, short)
    reading = await read(live.follow_loads())
    assert reading.columns.backlog.tolist() == [0, 0]
    assert told(reading) == [("a", "session", 1.0), ("a", "session", 2.0)]


async def test_a_refused_instance_reports_nothing(live: RedisLiveFleet, owner: PodLease) -> None:
    with pytest.raises(LeaseLost):
        await live.renew_lease(PodLease(A, "other"), None, packed(report(A, {T1: 1.0})))
    await live.renew_lease(owner, None, packed(report(A, {T1: 2.0})))
    assert told(await read(live.follow_loads())) == [("a", "session", 2.0)]


async def test_the_pod_that_reports_is_the_one_whose_lease_it_is(live: RedisLiveFleet, owner: PodLease) -> None:
    await live.renew_lease(owner, None, packed(report(B, {T1: 1.0})))
    assert (await read(live.follow_loads())).columns.pod_ids == [A]


@pytest.mark.parametrize("what", MALFORMED)
async def test_a_malformed_report_is_set_aside_once_and_the_others_are_taken(
    live: RedisLiveFleet, owner: PodLease, redis: Redis, fleet_id: str, what: str
) -> None:
    entry: dict[FieldT, EncodableT] = dict(MALFORMED[what].items())
    await redis.xadd(fleet_key(fleet_id, "loads"), entry)
    await live.renew_lease(owner, None, GOOD)
    for _ in range(2):
        reading = await read(live.follow_loads())
        assert reading.malformed == 1
        assert told(reading) == [("a", "session", 1.0), ("a", "session", 2.0)]
    aside = cast("list[tuple[bytes, dict[bytes, bytes]]]", await redis.xrange(fleet_key(fleet_id, "loads-set-aside")))
    ((_, fields),) = aside
    assert fields[b"why"]
    given = {
        name.encode(): value.encode() if isinstance(value, str) else value for name, value in MALFORMED[what].items()
    }
    assert given.items() <= fields.items()


async def test_what_is_set_aside_is_bounded(
    live: RedisLiveFleet, owner: PodLease, redis: Redis, fleet_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load_reports, "SET_ASIDE_MAX", 100)
    for _ in range(5):
        await redis.xadd(fleet_key(fleet_id, "loads"), {"pod": b"x" * 10_000})
    for _ in range(600):
        await redis.xadd(fleet_key(fleet_id, "loads"), {"pod": b"x"})
    await live.renew_lease(owner, None, GOOD)
    malformed = 0
    async for reading in live.follow_loads():
        malformed += reading.malformed
        if reading.columns.cells.size:
            break
    assert malformed == 605
    aside = fleet_key(fleet_id, "loads-set-aside")
    assert await redis.xlen(aside) < 300
    assert all(len(fields[b"pod"]) <= 4_096 for _, fields in cast("list[Any]", await redis.xrange(aside)))


async def test_a_set_aside_that_cannot_be_written_stops_nobody(
    live: RedisLiveFleet, owner: PodLease, redis: Redis, fleet_id: str
) -> None:
    await redis.set(fleet_key(fleet_id, "loads-set-aside"), "no stream")
    await redis.xadd(fleet_key(fleet_id, "loads"), {"other": b""})
    await live.renew_lease(owner, None, GOOD)
    assert (await read(live.follow_loads())).malformed == 1


async def test_reports_older_than_are_kept_are_dropped_however_large(
    live: RedisLiveFleet, owner: PodLease, redis: Redis, fleet_id: str
) -> None:
    loads, now_ms = fleet_key(fleet_id, "loads"), (await live.beat()).now_ms
    for age_ms in range(20_000, 10_000, -20):
        await redis.xadd(loads, {"pod": b"x" * 4_000}, id=f"{now_ms - age_ms}-0")
    await live.renew_lease(owner, None, GOOD)
    ((oldest, _),) = cast("list[tuple[bytes, object]]", await redis.xrange(loads, count=1))
    assert int(oldest.decode().partition("-")[0]) > now_ms - 10_500


async def test_reports_that_come_too_fast_are_not_taken_and_the_lease_is_renewed_all_the_same(
    live: RedisLiveFleet, owner: PodLease, redis: Redis, fleet_id: str
) -> None:
    intake, leases = fleet_key(fleet_id, "intake"), fleet_key(fleet_id, "leases")
    now_ms = (await live.beat()).now_ms
    await redis.hset(intake, mapping={"since": now_ms, "bytes": 200_000_000, "former": 68_435_400})
    before = await redis.zscore(leases, A)
    assert before is not None

    async def refused() -> bool:
        with pytest.raises(Unavailable, match="report less often"):
            await live.renew_lease(owner, None, GOOD)
        after = await redis.zscore(leases, A)
        return after is not None and after > before

    await eventually(refused, "the lease is renewed")
    assert await redis.xlen(fleet_key(fleet_id, "loads")) == 0
    # A period later what came in the former one counts, and two later nothing does.
    await redis.hset(intake, "since", str(now_ms - 10_001))
    await live.renew_lease(owner, None, GOOD)
    counted = await redis.hgetall(intake)
    assert counted[b"former"] == b"200000000"
    await redis.hset(intake, mapping={"since": now_ms - 20_001, "bytes": 268_435_456})
    await live.renew_lease(owner, None, GOOD)
    assert (await redis.hgetall(intake))[b"former"] == b"0"


async def test_a_report_that_is_too_large_is_refused_before_anything_is_written(
    live: RedisLiveFleet, owner: PodLease, redis: Redis, fleet_id: str
) -> None:
    large = LoadReport(PodId("a"), (), *[bytes(400_000)] * 6)
    with pytest.raises(ResponseError, match="TOOLARGE"):
        await live.renew_lease(owner, None, large)
    assert await redis.xlen(fleet_key(fleet_id, "loads")) == 0
