"""Splits and merges on a real Valkey: hot tiles spread, cold ones come together, nobody writes on to what is gone."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, cast

import msgspec
import pytest

from subgraph.domain.fleet.fleet_plan import plan_by_hand
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.planned_divisions import split_of
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason, AssignmentState, TileRecord
from subgraph.domain.planning.resolution import ResolutionPolicy
from subgraph.domain.succession import children_of
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_writes import TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import FleetProcess, Pace
from tests.support.fleets import SESSION, A, B, C, report, reported
from tests.support.interrupted_live import InterruptedLive
from tests.support.model_sink import ModelSink
from tests.support.ownership_history import OwnershipHistory
from tests.support.polling import eventually
from tests.support.records import owner_in, record_in
from tests.support.simulated_pod import SimulatedPod

pytestmark = pytest.mark.anyio

ACTIVE, DRAINING = AssignmentState.ACTIVE, AssignmentState.DRAINING
QUICK = PlacementPolicy(cool_down_ms=0, resolution=ResolutionPolicy(merge_after_ms=0))
BY_HAND = PlacementPolicy(cool_down_ms=0, resolution=ResolutionPolicy(enabled=False))


class Traffic:
    """The load of every tile, reported by whichever pod has it, again and again."""

    def __init__(self, process: FleetProcess, load_of: Callable[[TileId], float]) -> None:
        self.process = process
        self.load_of = load_of
        self._reporting = asyncio.create_task(self._report())

    async def _report(self) -> None:
        while True:
            fleet = self.process.view.current()
            for pod in list(fleet.pods):
                terms = [one for one in fleet.terms_of_pod(pod.id) if one.state is ACTIVE]
                for one in terms:
                    batch = report(pod.id, {one.tile_id: self.load_of(one.tile_id)}, epoch=one.term.epoch)
                    fleet.ingest(reported(self.process.view.now_ms(), batch))
            await asyncio.sleep(0.05)

    async def end(self) -> None:
        self._reporting.cancel()
        await asyncio.wait([self._reporting])


@pytest.fixture
async def traffic() -> Any:
    running: list[Traffic] = []

    def begin(process: FleetProcess, load_of: Callable[[TileId], float]) -> Traffic:
        running.append(Traffic(process, load_of))
        return running[-1]

    yield begin
    for one in running:
        await one.end()


def working(fleet: Fleet) -> dict[TileId, PodId]:
    """Who works on each tile in force; nothing while something is under way."""
    records: Mapping[TileId, TileRecord | None] = {tile: fleet.record(tile) for tile, _ in fleet.tiles.items()}
    if any(record is None or not record.is_settled for record in records.values()):
        return {}
    return {tile: record.owner.pod_id for tile, record in records.items() if record and record.owner}


async def test_a_hot_tile_splits_and_its_parts_spread_over_the_pods(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, traffic: Any
) -> None:
    process = await start(pace=Pace(placement=QUICK))
    (hot,) = await add_tiles(process, 1)
    for pod in (A, B, C):
        await make_pod(process, pod)
    traffic(process, lambda tile: 140.0 if tile == hot else 20.0)
    parts = children_of(hot)

    def is_spread(fleet: Fleet) -> bool:
        owners = working(fleet)
        return owners.keys() == set(parts) and len(set(owners.values())) == 3

    fleet = await process.until(is_spread, "the parts work on all pods")
    assert fleet.pod_loads().sum() == pytest.approx(140.0, rel=0.01)
    splits = sum(cycle.splits for cycle in process.cycles)
    assert splits == 1
    told = [moment.record for part in parts for moment in history.of(part)]
    reasons = {record.owner.reason for record in told if record and record.owner}
    assert AssignmentReason.TILE_SPLIT in reasons
    # What carries the same load as before stays split.
    cycles = len(process.cycles)
    await eventually(lambda: len(process.cycles) > cycles + 5, "more cycles")
    assert sum(cycle.splits + cycle.merges for cycle in process.cycles) == splits


async def test_cold_siblings_on_one_pod_merge_again(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, traffic: Any
) -> None:
    process = await start(pace=Pace(placement=QUICK))
    (tile,) = await add_tiles(process, 1)
    await make_pod(process, A)
    load = traffic(process, lambda one: 95.0 if one == tile else 95.0 / 7)
    await process.until(lambda fleet: working(fleet).keys() == set(children_of(tile)), "the tile has split")
    load.load_of = lambda _: 0.1
    fleet = await process.until(lambda fleet: working(fleet).keys() == {tile}, "the parts have merged")
    assert owner_in(fleet, tile).reason is AssignmentReason.TILE_MERGED
    assert record_in(fleet, tile).replaces == ()
    assert sum(cycle.merges for cycle in process.cycles) == 1


async def split_by_hand(process: FleetProcess, tile: TileId) -> None:
    """Have the leader split a tile."""
    fleet = process.view.current()
    plan = plan_by_hand("by-hand", fleet.version, process.view.now_ms(), splits=(split_of(fleet, tile),))
    await process.live.keep_plan(plan)
    await Rebalancing(process.live, process.view, BY_HAND).apply(plan.id, None)
    await process.view.observe(timeout_seconds=30)


async def one_owned_tile(
    start: Starts, make_pod: MakesPod, sink: ModelSink, **given: Any
) -> tuple[FleetProcess, TileId, SimulatedPod]:
    """A works on the only tile; nothing splits or merges by itself."""
    process = await start(pace=Pace(placement=BY_HAND), **given)
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A, sink=sink)
    await process.until(lambda fleet: working(fleet) == {tile: A}, "A works")
    return process, tile, a


async def test_a_paused_owner_of_a_split_tile_is_shut_out_by_whoever_works_on_a_part_first(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    sink = ModelSink()
    process, tile, a = await one_owned_tile(start, make_pod, sink)
    epoch = a.terms()[0].term.epoch
    # A is paused in the very moment: it hears nothing of the split, and its lease ends.
    a.does = ()
    await split_by_hand(process, tile)
    assert {one.replaces for one in a.terms(ACTIVE)} == {(tile,)}
    assert sink.takes(tile, epoch)
    await a.die()
    b = await make_pod(process, B, sink=sink)
    await process.until(lambda fleet: set(working(fleet).values()) == {B}, "B works on the parts")
    assert not sink.takes(tile, epoch)
    assert {one.replaces for one in b.terms()} == {()}


async def test_an_owner_that_never_began_leaves_the_shutting_out_to_the_next(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    sink = ModelSink()
    process, tile, a = await one_owned_tile(start, make_pod, sink)
    epoch = a.terms()[0].term.epoch
    a.does = ()
    await split_by_hand(process, tile)
    await a.die()
    b = await make_pod(process, B, sink=sink)
    b.does = ()
    await process.until(lambda fleet: len(fleet.terms_of_pod(B)) == 7, "B is given the parts")
    assert {one.replaces for one in b.terms()} == {(tile,)}
    await b.die()
    await make_pod(process, C, sink=sink)
    await process.until(lambda fleet: set(working(fleet).values()) == {C}, "C works on the parts")
    assert not sink.takes(tile, epoch)


async def test_the_former_owner_drains_the_whole_and_goes_on_with_the_parts(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, tile, a = await one_owned_tile(start, make_pod, ModelSink())
    a.does = (ACTIVE,)
    await split_by_hand(process, tile)
    await process.until(
        lambda fleet: all(one.term.acknowledged_at_ms for one in fleet.terms_of_pod(A) if one.state is ACTIVE),
        "A works on the parts",
    )
    assert [one.tile_id for one in a.terms(DRAINING)] == [tile]
    assert process.view.current().retired.get(tile) is None
    await a.acknowledge(DRAINING)
    await process.until(lambda fleet: fleet.record(tile) is None, "the tile is gone")
    assert process.view.current().retired.get(tile) is not None


async def interrupted(
    start: Starts, make_pod: MakesPod, sink: ModelSink
) -> tuple[FleetProcess, InterruptedLive, TileId, SimulatedPod]:
    made: list[InterruptedLive] = []

    def wrap(live: Any) -> LiveFleet:
        made.append(InterruptedLive(live))
        return cast(LiveFleet, made[0])

    process, tile, a = await one_owned_tile(start, make_pod, sink, wrap=wrap)
    return process, made[0], tile, a


@pytest.mark.parametrize("changed", ["whole", "part"])
async def test_what_changes_in_the_middle_of_a_split_leaves_nothing_half_done(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, changed: str
) -> None:
    process, live, tile, _ = await interrupted(start, make_pod, ModelSink())
    victim = tile if changed == "whole" else children_of(tile)[3]
    stored = (await process.live.read_tiles([tile]))[tile]

    async def change() -> None:
        record = msgspec.structs.replace(stored.record, capacity=7.0)
        expected = stored.version if victim == tile else 0
        await process.live.commit(None, [TileWrite(victim, expected, record)])

    live.before["commit"] = change
    await split_by_hand(process, tile)
    fleet = process.view.current()
    assert {one for one, _ in fleet.tiles.items()} == {tile, victim}
    assert not fleet.tiles.retiring
    if changed == "part":
        # For what must hold of every history.
        found = (await process.live.read_tiles([victim]))[victim]
        history.moments.clear()
        await process.live.commit(None, [TileWrite(victim, found.version, None)])


async def test_a_session_that_stops_in_the_middle_of_a_split_leaves_no_tile(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, live, tile, _ = await interrupted(start, make_pod, ModelSink())

    async def stop() -> None:
        await Retirement(process.live, process.view).retire_session(SESSION)

    for moment in ("before", "after"):
        getattr(live, moment)["commit"] = stop
        await split_by_hand(process, tile)
        await process.until(lambda fleet: not len(fleet.tiles), "no tile is left")
        await add_tiles(process, 1)
        await process.until(lambda fleet: working(fleet) == {tile: A}, "A works again")


async def test_a_pod_that_registers_anew_is_told_what_to_shut_out(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, tile, a = await one_owned_tile(start, make_pod, ModelSink())
    a.does = ()
    await split_by_hand(process, tile)
    await a.die()
    held = {one.tile_id: one.term.epoch for one in a.terms(ACTIVE)}
    new = await make_pod(process, A, lives=False)
    told = (await new.register(held)).assignments
    assert {(one.tile_id, one.replaces) for one in told} == {(part, (tile,)) for part in children_of(tile)}
