"""The scripts on a real Valkey and their twin live through the same random histories, and never differ in anything."""

import asyncio
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot
from subgraph.operations.fleet.live_fleet import LiveFleet
from tests.contract.conftest import listening
from tests.support.clocked_redis import clocked
from tests.support.polling import eventually
from tests.support.store_histories import HAPPENINGS, Both
from tests.support.store_twin import StoreTwin
from tests.support.twin_live_fleet import Nearby, TwinLiveFleet

pytestmark = pytest.mark.anyio

STEPS = 150
SEEDS_TO_TELL = 30


@pytest.mark.parametrize("seed", range(12))
async def test_scripts_and_twin_do_the_same_and_leave_the_same_behind(
    seed: int, valkey_url: str, fleet_id: str
) -> None:
    async with _stores(valkey_url, fleet_id, seed) as both:
        heard = await _live_through(both)
    assert len(heard) > STEPS / 15, "the history is of changes"


ALTERED = {
    "whoever once led goes on": ("redis.call('HGET', META, 'incarnation') == incarnation", "true"),
    "a leader goes on in another run of the store": ("redis.call('HGET', META, 'run_id') == run_id()", "true"),
    "a term may begin in an incarnation that is not raised": (
        "tonumber(current) >= tonumber",
        "tonumber(current) > tonumber",
    ),
    "registrations outlive what the store forgot": ("redis.call('DEL', TOKENS, LEASES, APPLIED)", ""),
    "a store that does not know what was seen has forgotten nothing": ("or published < tonumber(ARGV[3])", ""),
    "a store that nobody has taken over refuses instances": ("redis.call('HGET', meta, 'run_id') ~= run_id", "false"),
    "claims made since are dropped": ("if version_of(redis.call('HGET', CLAIMS, ARGV[3])) == ARGV[4]", "if true"),
    "epochs are given out that are not above what was seen": ("first > tonumber(ARGV[4])", "true"),
    "a pod in its lease is declared lost": ("lease_end > now", "false"),
    "a pod that was written as lost keeps its token": ("if only_ended == '1' or record == ''", "if record == ''"),
    "a tile is written over a change": ("version_of(stored[at]) ~= ARGV[at + 1]", "false"),
    "a tile is taken from a pod that runs again": ("redis.call('HEXISTS', TOKENS, lost) == 1", "false"),
    "a former instance of a pod writes on": ("if guard == 'pod' and not is_instance", "if false and not is_instance"),
    "a version is given out twice": ("last - count + 1", "last - count"),
}


@pytest.mark.parametrize(("shipped", "altered"), ALTERED.values(), ids=ALTERED)
async def test_scripts_that_do_something_else_are_told_from_the_twin(
    valkey_url: str, fleet_id: str, shipped: str, altered: str
) -> None:
    for seed in range(SEEDS_TO_TELL):
        async with _stores(valkey_url, f"{fleet_id}-{seed}", seed, {shipped: altered}) as both:
            assert both.redis.alterations, f"no script says {shipped!r} any more"
            try:
                await _live_through(both)
            except AssertionError:
                return
    pytest.fail(f"nobody noticed in {SEEDS_TO_TELL} histories")


@asynccontextmanager
async def _stores(url: str, fleet_id: str, seed: int, altered: Mapping[str, str] | None = None) -> AsyncIterator[Both]:
    redis = clocked(url, fleet_key(fleet_id, "clock"), altered)
    try:
        async with listening(redis) as bus:
            twin = StoreTwin(lambda: both.now_ms)
            real = RedisLiveFleet(redis, bus, fleet_id)
            both = Both(random.Random(seed), redis, fleet_id, real, twin, TwinLiveFleet(twin, Nearby(twin)))
            await both.pass_time(0)
            yield both
    finally:
        await redis.aclose()


async def _live_through(both: Both) -> list[FleetSnapshot | FleetChange | CycleReport]:
    """What was heard of the history.

    Raises:
        AssertionError: store and twin differed.
    """
    heard: list[list[FleetSnapshot | FleetChange | CycleReport]] = [[], []]
    stores: tuple[LiveFleet, LiveFleet] = (both.real, both.port)
    followers = [asyncio.create_task(_follow(live, told)) for live, told in zip(stores, heard, strict=True)]
    try:
        await eventually(lambda: all(heard), "both are followed")
        for _ in range(STEPS):
            await both.chance.choice(HAPPENINGS)(both)
            kept, twin_kept = await both.state(), both.twin_state()
            # Redis trims its stream by whole nodes: it may keep reports for longer, but no others.
            assert kept.pop("loads")[-len(twin_kept["loads"]) or sys.maxsize :] == twin_kept.pop("loads")
            assert kept == twin_kept
            assert await both.do(_pulse) is not None
        await eventually(lambda: len(heard[0]) == len(heard[1]), "both have heard everything")
    finally:
        for one in followers:
            one.cancel()
        await asyncio.wait(followers)
    assert heard[0] == heard[1]
    assert _times(heard[0]) == _times(heard[1])
    return heard[0]


async def _follow(live: LiveFleet, told: list[FleetSnapshot | FleetChange | CycleReport]) -> None:
    async for one in live.follow():
        told.append(one)  # noqa: PERF401 — others look on while it grows


async def _pulse(live: LiveFleet) -> Any:
    beat = await live.beat()
    known = (beat.is_adopted, beat.incarnation, beat.era, beat.is_restored, beat.pods_with_claims)
    return beat.now_ms, *known, beat.published_version, beat.leader, beat.leases, beat.applied


def _times(heard: list[FleetSnapshot | FleetChange | CycleReport]) -> list[int]:
    return [one.at_ms for one in heard if isinstance(one, FleetChange)]
