"""Pods on a real Valkey: instances and their leases, load reports, plans, locks, and a store that is away."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from uuid import uuid4

import msgspec
import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis import live_fleet
from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.redis.residues import RedisResidues
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.erasure import Traces
from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.domain.fleet.changes import Pause
from subgraph.domain.fleet.fleet_plan import FleetPlan, KeyedPlan, Outcome
from subgraph.domain.ids import TileId
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.fleet_writes import Leadership, NotLeading, PodLease, TileWrite
from tests.contract.conftest import listening
from tests.support.fleets import T1, TENANT, A, B, packed, pod, report, tile
from tests.support.leading import lead
from tests.support.own_valkey import kill
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def leadership(live: RedisLiveFleet) -> Leadership:
    return await lead(live)


async def test_a_pod_is_registered_at_the_stores_time_with_a_whole_lease(
    live: RedisLiveFleet, leadership: Leadership, redis: Redis
) -> None:
    seconds, _ = await redis.time()
    version, record = await live.register_pod(A, pod(lease_ms=3_000, labels={"rack": "ü"}, zone="z", tiles_max=5))
    beat = await live.beat()
    assert seconds * 1_000 <= record.registered_at_ms == record.status_at_ms <= beat.now_ms
    assert record.registered_at_ms + 3_000 <= beat.leases[A] <= beat.now_ms + 3_000
    stored = await live.read_pod(A)
    assert stored is not None
    assert (stored.version, stored.record) == (version, record)
    assert await live.read_pod(B) is None


async def test_renewing_gives_a_whole_lease_again_and_tells_what_was_applied(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    await live.register_pod(A, pod(lease_token="t"))
    first = await live.beat()
    assert A not in first.applied

    async def is_later() -> bool:
        return (await live.beat()).now_ms > first.now_ms + 20

    await eventually(is_later, "time goes on")
    await live.renew_lease(PodLease(A, "t"), 2**53 - 1)
    second = await live.beat()
    assert second.leases[A] > first.leases[A]
    assert second.applied == {A: 2**53 - 1}
    await live.renew_lease(PodLease(A, "t"), None)
    assert (await live.beat()).applied == {A: 2**53 - 1}


async def test_a_new_instance_fences_the_former_one_and_has_applied_nothing(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    await live.register_pod(A, pod(lease_token="former"))
    await live.renew_lease(PodLease(A, "former"), 7)
    await live.register_pod(A, pod(lease_token="present"))
    assert (await live.beat()).applied == {}
    with pytest.raises(LeaseLost) as refused:
        await live.renew_lease(PodLease(A, "former"), 8, packed(report(A, {T1: 1.0})))
    assert refused.value.superseded
    assert (await live.beat()).applied == {}
    with pytest.raises(LeaseLost):
        await live.end_pod(PodLease(A, "former"), pod(status=PodStatus.GONE))
    await live.renew_lease(PodLease(A, "present"), None)


async def test_only_one_of_many_instances_that_register_at_once_runs(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    await asyncio.gather(*(live.register_pod(A, pod(lease_token=f"t{n}")) for n in range(10)))
    renewed = await asyncio.gather(
        *(live.renew_lease(PodLease(A, f"t{n}"), None) for n in range(10)), return_exceptions=True
    )
    running = [n for n, outcome in enumerate(renewed) if outcome is None]
    assert len(running) == 1
    stored = await live.read_pod(A)
    assert stored is not None
    assert stored.record.lease_token == f"t{running[0]}"


async def test_a_pod_that_left_has_no_lease_and_cannot_leave_twice(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    registered_at, record = await live.register_pod(A, pod(lease_token="t"))
    gone = record.with_status(PodStatus.GONE, 9)
    version = await live.end_pod(PodLease(A, "t"), gone)
    assert version > registered_at
    stored = await live.read_pod(A)
    assert stored is not None
    assert stored.record == gone
    assert (await live.beat()).leases == {}
    with pytest.raises(LeaseLost) as refused:
        await live.end_pod(PodLease(A, "t"), gone)
    assert not refused.value.superseded


async def test_a_pause_is_known_until_it_is_over(live: RedisLiveFleet) -> None:
    now_ms = (await live.beat()).now_ms
    await live.set_pause(Pause(now_ms + 60_000, "me", "maintenance"))
    assert (await live.beat()).pause == Pause(now_ms + 60_000, "me", "maintenance")
    await live.set_pause(None)
    assert (await live.beat()).pause is None
    await live.set_pause(Pause(now_ms + 300, "me", "short"))

    async def is_over() -> bool:
        return (await live.beat()).pause is None

    await eventually(is_over, "the pause ends by itself")


def plan(plan_id: str, lifetime_ms: int) -> FleetPlan:
    even = Outcome(1.0, 0.5, 0)
    return FleetPlan(plan_id, 10, 1_000, 1_000 + lifetime_ms, [], [], "BALANCED", even, even, 0.0, 0.0, 0.1)


async def test_a_plan_is_kept_until_it_expires(live: RedisLiveFleet) -> None:
    await live.keep_plan(plan("long", 60_000))
    await live.keep_plan(plan("short", 50))
    assert await live.read_plan("long") == plan("long", 60_000)
    assert await live.read_plan("never made") is None

    async def has_expired() -> bool:
        return await live.read_plan("short") is None

    await eventually(has_expired, "the plan expires")
    assert await live.read_plan("long") is not None


async def test_a_plan_is_remembered_for_a_key_once_and_for_its_time(
    live: RedisLiveFleet, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    leadership = await lead(live)
    first, second = KeyedPlan("asked", plan("first", 1_000)), KeyedPlan("asked", plan("second", 1_000))
    assert await live.read_keyed_plan("key") is None
    assert await live.begin_keyed_plan(leadership, "key", first, 60_000) is None
    assert await live.begin_keyed_plan(leadership, "key", second, 60_000) == first
    await live.end_keyed_plan("key", first)
    assert await live.read_keyed_plan("key") == KeyedPlan("asked", first.plan, is_done=True)
    await live.begin_keyed_plan(leadership, "short", second, 50)

    async def is_forgotten() -> bool:
        return await live.read_keyed_plan("short") is None

    await eventually(is_forgotten, "a key is forgotten in time")
    await live.end_keyed_plan("short", second)
    assert await is_forgotten()
    with pytest.raises(NotLeading):
        await live.begin_keyed_plan(Leadership(leadership.incarnation, "other"), "other", first, 60_000)

    monkeypatch.setattr(live_fleet, "KEYED_PLANS_MAX", 2)
    for name in ("two", "three"):
        assert await live.begin_keyed_plan(leadership, name, first, 60_000) is None
    assert [await live.read_keyed_plan(name) is None for name in ("key", "two", "three")] == [True, False, False]


async def test_a_plan_of_a_key_that_names_an_erased_session_is_forgotten(live: RedisLiveFleet, redis: Redis) -> None:
    leadership, session_id = await lead(live), str(uuid4())
    named = msgspec.structs.replace(plan("of", 1_000), unsplit=((TileId(f"{session_id}:8426819ffffffff"), "r"),))
    await live.begin_keyed_plan(leadership, "key", KeyedPlan("asked", named), 60_000)
    residues, traces = RedisResidues(redis), Traces("ann", [session_id])
    assert await residues.forget(TENANT, traces) == {"redis string": 1}
    assert await residues.residues(TENANT, traces) == {}
    assert await live.read_keyed_plan("key") is None


LEADERSHIP, LEASE = Leadership(1, "t"), PodLease(A, "t")
CALLS: dict[str, Callable[[RedisLiveFleet], Awaitable[object]]] = {
    "follow": lambda live: anext(live.follow()),
    "follow_loads": lambda live: anext(live.follow_loads()),
    "beat": lambda live: live.beat(),
    "read_tiles": lambda live: live.read_tiles([T1]),
    "read_pod": lambda live: live.read_pod(A),
    "commit": lambda live: live.commit(None, [TileWrite(T1, 0, tile())]),
    "reserve_versions": lambda live: live.reserve_versions(LEADERSHIP, 1),
    "register_pod": lambda live: live.register_pod(A, pod()),
    "renew_lease": lambda live: live.renew_lease(LEASE, None),
    "end_pod": lambda live: live.end_pod(LEASE, pod()),
    "try_lead": lambda live: live.try_lead("me", "t", 1_000),
    "begin_term": lambda live: live.begin_term(LEADERSHIP),
    "keep_leading": lambda live: live.keep_leading(LEADERSHIP, 1_000),
    "stop_leading": lambda live: live.stop_leading(LEADERSHIP),
    "keep_plan": lambda live: live.keep_plan(plan("id", 1_000)),
    "read_plan": lambda live: live.read_plan("id"),
    "begin_keyed_plan": lambda live: live.begin_keyed_plan(LEADERSHIP, "key", KeyedPlan("f", plan("id", 1_000)), 1_000),
    "end_keyed_plan": lambda live: live.end_keyed_plan("key", KeyedPlan("f", plan("id", 1_000))),
    "read_keyed_plan": lambda live: live.read_keyed_plan("key"),
    "ask_leader": lambda live: live.ask_leader(b"", 1.0),
    "take_requests": lambda live: live.take_requests(LEADERSHIP, 1),
    "answer_request": lambda live: live.answer_request("id", b""),
    "set_pause": lambda live: live.set_pause(None),
}


async def test_every_call_says_that_the_store_is_away(valkey: EmbeddedValkey, fleet_id: str) -> None:
    client = connect(valkey.url)
    async with listening(client) as bus:
        live = RedisLiveFleet(client, bus, fleet_id)
        await live.beat()
        await kill(valkey)
        for call in CALLS.values():
            with pytest.raises(Unavailable):
                await call(live)
    await client.aclose()


async def test_a_store_that_does_not_answer_in_time_is_away(valkey: EmbeddedValkey, fleet_id: str) -> None:
    client = connect(valkey.url, answer_seconds=1.0)
    async with listening(client) as bus:
        live = RedisLiveFleet(client, bus, fleet_id)
        await live.beat()
        assert valkey.pid is not None
        os.kill(valkey.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable):
            await live.beat()
        os.kill(valkey.pid, signal.SIGCONT)
        # The late answer belongs to nobody: the next call has a connection of its own.
        assert await live.read_plan("never made") is None
    await client.aclose()


async def test_a_call_is_cancelled_at_whatever_moment(live: RedisLiveFleet) -> None:
    async def call_for_ever() -> None:
        while True:
            await live.beat()

    for turns in range(60):
        calling = asyncio.create_task(call_for_ever())
        for _ in range(turns):
            await asyncio.sleep(0)
        calling.cancel()
        await asyncio.wait([calling], timeout=30)
        assert calling.cancelled(), f"not after {turns} turns"
