"""What a live store that forgot writes promises: nothing new before a leader has taken it over, then a new era."""

import asyncio
from collections.abc import Awaitable, Callable
from secrets import token_urlsafe

import pytest

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.domain.fleet.changes import FleetSnapshot
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import version_of
from subgraph.operations.fleet.fleet_pulse import PodClaims
from subgraph.operations.fleet.fleet_writes import IncarnationBehind, Leadership, NotLeading, PodLease, TileWrite
from tests.support.fleets import SESSION, T1, T2, T3, A, B, pod, tile
from tests.support.leading import LONG_MS, lead
from tests.support.own_valkey import kill

pytestmark = pytest.mark.anyio

LEASE = PodLease(A, "t")


async def empty(valkey: EmbeddedValkey) -> None:
    client = connect(valkey.url)
    await client.flushall()
    await client.aclose()


async def restart(valkey: EmbeddedValkey) -> None:
    await kill(valkey)
    await valkey.start()


LOSSES = pytest.mark.parametrize("lose", [empty, restart])
WRITES: dict[str, Callable[[RedisLiveFleet], Awaitable[object]]] = {
    "commit": lambda live: live.commit(None, [TileWrite(T2, 0, tile())]),
    "a pod's commit": lambda live: live.commit(LEASE, [TileWrite(T2, 0, tile())]),
    "register_pod": lambda live: live.register_pod(B, pod()),
    "end_pod": lambda live: live.end_pod(LEASE, pod()),
    "require": lambda live: live.require(SESSION, SessionRequirement(1, {"a": "b"})),
}


@LOSSES
@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES.keys())
async def test_nothing_is_written_before_a_leader_has_taken_the_store_over(
    valkey: EmbeddedValkey,
    own_live: RedisLiveFleet,
    lose: Callable[[EmbeddedValkey], Awaitable[None]],
    write: Callable[[RedisLiveFleet], Awaitable[object]],
) -> None:
    """Versions that it forgot would be given out twice."""
    leadership = await lead(own_live)
    await own_live.register_pod(A, pod(lease_token="t"))
    version = (await own_live.commit(None, [TileWrite(T1, 0, tile())])).version
    assert (await own_live.beat()).is_adopted
    await lose(valkey)
    assert not (await own_live.beat()).is_adopted
    with pytest.raises(Unavailable, match="no leader"):
        await write(own_live)
    with pytest.raises(NotLeading):
        await own_live.commit(leadership, [TileWrite(T2, 0, tile())])
    assert T2 not in await own_live.read_tiles([T2])
    newer = Leadership(2, leadership.token)
    assert await own_live.try_lead("leader", newer.token, LONG_MS)
    assert await own_live.begin_term(newer)
    assert (await own_live.beat()).is_adopted
    assert (await own_live.commit(newer, [TileWrite(T2, 0, tile())])).version > version


async def test_a_restarted_store_renews_leases_and_calls_no_instance_superseded(
    valkey: EmbeddedValkey, own_live: RedisLiveFleet
) -> None:
    """It may have forgotten the newest registration; who is told that another instance runs would stop for good."""
    await lead(own_live)
    await own_live.register_pod(A, pod(lease_token="t"))
    await restart(valkey)
    await own_live.renew_lease(LEASE, None)
    with pytest.raises(Unavailable):
        await own_live.renew_lease(PodLease(A, "one that it does not know"), None)


@LOSSES
async def test_in_a_new_era_every_registration_is_void(
    valkey: EmbeddedValkey, own_live: RedisLiveFleet, lose: Callable[[EmbeddedValkey], Awaitable[None]]
) -> None:
    leadership = await lead(own_live)
    await own_live.register_pod(A, pod(lease_token="t"))
    await own_live.renew_lease(LEASE, 7)
    await lose(valkey)
    assert await own_live.try_lead("leader", leadership.token, LONG_MS)
    assert await own_live.begin_term(Leadership(2, leadership.token))
    beat = await own_live.beat()
    assert (beat.era, beat.incarnation, beat.is_restored, beat.leases, beat.applied) == (2, 2, False, {}, {})
    for call in (own_live.renew_lease(LEASE, None), own_live.commit(LEASE, []), own_live.end_pod(LEASE, pod())):
        with pytest.raises(LeaseLost) as lost:
            await call
        assert not lost.value.superseded
    _, record = await own_live.register_pod(A, pod(lease_token="new"))
    assert record.era == 2
    await own_live.renew_lease(PodLease(A, "new"), None)


async def test_a_plain_takeover_begins_no_era(live: RedisLiveFleet) -> None:
    first = await lead(live)
    await live.declare_restored(first)
    await live.register_pod(A, pod(lease_token="t"))
    await live.stop_leading(first)
    second = Leadership(5, token_urlsafe())
    assert await live.try_lead("other", second.token, LONG_MS)
    assert not await live.begin_term(second, (await live.beat()).published_version)
    beat = await live.beat()
    assert (beat.era, beat.incarnation, beat.is_restored) == (1, 5, True)
    await live.renew_lease(LEASE, None)


async def test_a_store_that_does_not_know_a_version_that_was_seen_begins_an_era(live: RedisLiveFleet) -> None:
    """It was put back to an earlier state without being restarted."""
    first = await lead(live)
    await live.register_pod(A, pod(lease_token="t"))
    seen = (await live.beat()).published_version + 1
    assert await live.begin_term(Leadership(2, first.token), seen)
    assert (await live.beat()).era == 2
    with pytest.raises(LeaseLost):
        await live.renew_lease(LEASE, None)


async def test_epochs_are_reserved_only_above_what_was_seen(live: RedisLiveFleet) -> None:
    leadership = await lead(live)
    first = await live.reserve_versions(leadership, 2)
    assert await live.reserve_versions(leadership, 1, above=first + 1) == first + 2
    with pytest.raises(NotLeading):
        await live.reserve_versions(leadership, 1, above=first + 50)


async def test_an_incarnation_that_the_store_is_ahead_of_is_told(live: RedisLiveFleet) -> None:
    leadership = await lead(live, incarnation=7)
    for behind in (3, 7):
        with pytest.raises(IncarnationBehind) as refused:
            await live.begin_term(Leadership(behind, leadership.token))
        assert refused.value.incarnation == 7


async def test_a_snapshot_names_its_era(live: RedisLiveFleet) -> None:
    await lead(live, incarnation=3)
    told = await anext(live.follow())
    assert isinstance(told, FleetSnapshot)
    assert told.era == 3


async def test_an_era_is_declared_restored_by_its_leader_alone(live: RedisLiveFleet) -> None:
    leadership = await lead(live)
    assert not (await live.beat()).is_restored
    with pytest.raises(NotLeading):
        await live.declare_restored(Leadership(1, "somebody else"))
    assert await live.declare_restored(leadership)
    assert (await live.beat()).is_restored


async def test_an_era_is_not_restored_while_claims_wait(live: RedisLiveFleet) -> None:
    leadership = await lead(live, incarnation=5)
    await live.register_pod(A, pod(lease_token="t"), {T1: 3 << 32})
    assert not await live.declare_restored(leadership)
    assert not (await live.beat()).is_restored
    (claims,) = await live.read_claims(10)
    await live.drop_claims(leadership, claims)
    assert await live.declare_restored(leadership)


async def test_what_a_pod_held_before_the_era_or_beyond_all_versions_is_its_claim(live: RedisLiveFleet) -> None:
    leadership = await lead(live, incarnation=5)
    first = await live.reserve_versions(leadership, 1)
    await live.commit(leadership, [TileWrite(T1, 0, tile())])
    held = {T1: version_of(5, 0) - 1, T2: first, T3: version_of(6, 1)}
    version, _ = await live.register_pod(A, pod(), held)
    await live.register_pod(B, pod(), {T2: first})
    assert await live.read_claims(10) == [PodClaims(A, version, {T1: held[T1], T3: held[T3]})]
    assert (await live.beat()).pods_with_claims == 1


async def test_claims_stay_until_they_are_decided_or_made_anew(live: RedisLiveFleet) -> None:
    leadership = await lead(live, incarnation=5)
    await live.register_pod(A, pod(lease_token="1"), {T1: 1, T2: 2})
    await live.register_pod(A, pod(lease_token="2"))
    (kept,) = await live.read_claims(10)
    assert kept.held == {T1: 1, T2: 2}
    version, _ = await live.register_pod(A, pod(lease_token="3"), {T3: 3})
    await live.drop_claims(leadership, kept)
    assert await live.read_claims(10) == [PodClaims(A, version, {T3: 3})]
    with pytest.raises(NotLeading):
        await live.drop_claims(Leadership(5, "somebody else"), PodClaims(A, version, {}))
    await live.drop_claims(leadership, PodClaims(A, version, {}))
    assert await live.read_claims(10) == []
    assert (await live.beat()).pods_with_claims == 0


async def test_claims_go_with_their_pod(live: RedisLiveFleet) -> None:
    await lead(live, incarnation=5)
    await live.register_pod(A, pod(lease_token="t"), {T1: 1})
    await live.end_pod(LEASE, pod())
    assert await live.read_claims(10) == []


async def test_claims_of_only_so_many_pods_are_read_at_once(live: RedisLiveFleet) -> None:
    await lead(live, incarnation=5)
    await asyncio.gather(*(live.register_pod(one, pod(lease_token=one), {T1: 1}) for one in (A, B)))
    assert len(await live.read_claims(1)) == 1
    assert len(await live.read_claims(2)) == 2
    assert (await live.beat()).pods_with_claims == 2
