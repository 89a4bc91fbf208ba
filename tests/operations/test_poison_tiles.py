"""Tiles that kill their pods, on a real store: quarantined by whoever leads, released by time, by hand or by a move."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.fleet.quarantine import quarantined_rows
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.pods import PodStatus
from subgraph.domain.suspicion import QuarantinePolicy
from subgraph.operations.by_hand.manual_moves import ManualMoves
from subgraph.operations.by_hand.tile_rules import TileRules
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.fleet.pod_registering import NewPod
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import WITHOUT_COOL_DOWN, FleetProcess, Pace
from tests.support.fleets import TENANT
from tests.support.polling import eventually
from tests.support.records import record_in
from tests.support.simulated_pod import SimulatedPod

pytestmark = pytest.mark.anyio

CALLER = Caller(TENANT, "ann", ALL_SCOPES)
PODS = [PodId(name) for name in "abcdef"]
LONG = Pace(quarantine=QuarantinePolicy(first_ms=600_000, longest_ms=3_600_000))
SHORT = Pace(quarantine=QuarantinePolicy(first_ms=1_000, longest_ms=3_600_000))


@asynccontextmanager
async def deadly(process: FleetProcess, poison: TileId, pods: Sequence[SimulatedPod]) -> AsyncIterator[list[PodId]]:
    """While it lasts, pods that have the tile die. Yields those that did, in their order."""
    died: list[PodId] = []

    async def kill() -> None:
        while True:
            for pod in pods:
                if pod.id not in died and poison in {one.tile_id for one in pod.terms()}:
                    died.append(pod.id)
                    await pod.die()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(kill())
    try:
        yield died
    finally:
        task.cancel()
        await asyncio.wait([task])


def is_quarantined(process: FleetProcess, tile_id: TileId) -> Callable[[], bool]:
    def look() -> bool:
        fleet = process.view.current()
        return fleet.tiles.row(tile_id) in quarantined_rows(fleet, process.view.now_ms())

    return look


async def killed_three(
    process: FleetProcess, make_pod: MakesPod, tiles: int = 1
) -> tuple[TileId, list[SimulatedPod], list[TileId]]:
    """A tile that has killed three pods, in quarantine; all pods, and all tiles."""
    pods = [await make_pod(process, pod_id) for pod_id in PODS[:4]]
    poison, *others = await add_tiles(process, tiles)
    async with deadly(process, poison, pods) as died:
        await eventually(is_quarantined(process, poison), "the tile is quarantined")
        assert len(died) == 3
    suspicion = record_in(process.view.current(), poison).suspicion
    assert suspicion is not None
    assert [loss.pod_id for loss in suspicion.losses] == died
    return poison, [pod for pod in pods if pod.id not in died], others


async def test_a_tile_that_killed_three_pods_waits_and_the_fourth_works_on(start: Starts, make_pod: MakesPod) -> None:
    process = await start(pace=LONG)
    poison, (fourth,), others = await killed_three(process, make_pod, 30)
    await process.until(
        lambda fleet: {one.tile_id for one in fleet.terms_of_pod(fourth.id)} == set(others), "all others are there"
    )
    cycles = len(process.cycles)
    await eventually(lambda: len(process.cycles) > cycles + 5, "more cycles")
    assert is_quarantined(process, poison)()
    pod = process.view.current().pods.get(fourth.id)
    assert pod is not None
    assert pod.record.status is PodStatus.READY
    assert sum(cycle.quarantines for cycle in process.cycles) >= 1


async def test_after_its_time_it_is_placed_again_and_the_next_loss_doubles_the_wait(
    start: Starts, make_pod: MakesPod
) -> None:
    process = await start(pace=SHORT)
    poison, fourth, _ = await killed_three(process, make_pod)
    async with deadly(process, poison, fourth) as died:
        await eventually(lambda: died == [fourth[0].id], "it kills the fourth")
        await eventually(is_quarantined(process, poison), "it is quarantined again")
    suspicion = record_in(process.view.current(), poison).suspicion
    assert suspicion is not None
    assert (suspicion.quarantines, suspicion.in_a_row) == (2, 4)
    assert 1_900 <= suspicion.quarantined_until_ms - suspicion.losses[-1].at_ms <= 4_000


async def test_a_new_leader_goes_on_where_the_former_stopped(start: Starts, make_pod: MakesPod) -> None:
    first, second = await start(pace=LONG), await start(pace=LONG, name="two")
    pods = [await make_pod(second, pod_id) for pod_id in PODS[:4]]
    (poison,) = await add_tiles(first, 1)
    async with deadly(second, poison, pods) as died:
        await eventually(lambda: len(died) == 2, "two pods died")
        await first.kill()
        await eventually(is_quarantined(second, poison), "the tile is quarantined", 20)
    assert len(died) == 3


async def test_a_release_places_the_tile_at_once(start: Starts, make_pod: MakesPod) -> None:
    process = await start(pace=LONG)
    poison, (fourth,), _ = await killed_three(process, make_pod)
    await TileRules(process.live, process.view).release(CALLER, poison)
    await process.until(lambda fleet: fleet.terms_of_pod(fourth.id), "it is placed")
    assert record_in(process.view.current(), poison).suspicion is None


async def test_a_move_by_hand_frees_the_tile(start: Starts, make_pod: MakesPod) -> None:
    process = await start(pace=LONG)
    poison, (fourth,), _ = await killed_three(process, make_pod)
    rebalancing = Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN)
    moved = await ManualMoves(process.live, process.view, rebalancing).move(CALLER, poison, fourth.id)
    assert moved.term.pod_id == fourth.id
    assert record_in(process.view.current(), poison).suspicion is None


async def test_a_process_that_crashes_and_starts_again_under_its_name_counts_one_that_left_does_not(
    start: Starts, make_pod: MakesPod
) -> None:
    process = await start(pace=Pace(pod_lease_ms=5_000, leader_lease_ms=5_000))
    (tile_id,) = await add_tiles(process, 1)

    async def losses_after_restart(*, leaves: bool) -> int:
        pod = await make_pod(process, PODS[0])
        await process.until(lambda fleet: fleet.terms_of_pod(pod.id), "it has the tile")
        before = record_in(process.view.current(), tile_id).suspicion
        await pod.die()
        if leaves:
            await process.pods.deregister(pod.lease)
        await process.registering.register(NewPod(PODS[0], "test", 100.0))
        after = record_in(process.view.current(), tile_id).suspicion
        return (after.in_a_row if after else 0) - (before.in_a_row if before else 0)

    assert await losses_after_restart(leaves=False) == 1
    assert await losses_after_restart(leaves=True) == 0
    assert await losses_after_restart(leaves=False) == 1


async def test_a_process_that_still_holds_its_tile_is_not_suspected_of_having_died(
    start: Starts, make_pod: MakesPod
) -> None:
    process = await start(pace=Pace(pod_lease_ms=5_000, leader_lease_ms=5_000))
    (tile_id,) = await add_tiles(process, 1)
    pod = await make_pod(process, PODS[0])
    await process.until(lambda fleet: fleet.terms_of_pod(pod.id), "it has the tile")
    held = {one.tile_id: one.term.epoch for one in pod.terms()}
    await pod.register(held=held)
    assert record_in(process.view.current(), tile_id).suspicion is None
