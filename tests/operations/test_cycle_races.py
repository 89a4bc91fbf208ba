"""What comes into the middle of a control cycle is never undone by it, and never ends it."""

from secrets import token_urlsafe
from typing import Any, cast

import msgspec
import pytest

from subgraph.domain.ids import SessionId, TileId
from subgraph.domain.ownership import AssignmentState, TileRecord
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.control import carrying_out
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.coverage.retirement import Retirement
from subgraph.operations.fleet.fleet_writes import TileWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.fleet.pod_registering import NewPod, PodRegistering
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import WITHOUT_COOL_DOWN, FleetProcess, Pace
from tests.support.fleets import SESSION, TENANT, A, B, C, tile_ids
from tests.support.interrupted_live import Hook, InterruptedLive
from tests.support.ownership_history import OwnershipHistory
from tests.support.polling import eventually
from tests.support.records import record_in
from tests.support.simulated_pod import SimulatedPod

pytestmark = pytest.mark.anyio

PREPARING, ACTIVE, DRAINING = AssignmentState.PREPARING, AssignmentState.ACTIVE, AssignmentState.DRAINING
(OTHER_TILE,) = tile_ids(1, SessionId("other"))


async def interrupted(start: Starts, **pace: Any) -> tuple[FleetProcess, InterruptedLive]:
    """A process whose control loop can be interrupted in the middle of a call."""
    made: list[InterruptedLive] = []

    def wrap(live: Any) -> LiveFleet:
        made.append(InterruptedLive(live))
        return cast(LiveFleet, made[0])

    return await start(wrap=wrap, pace=Pace(**pace)), made[0]


async def write(process: FleetProcess, **changes: Any) -> None:
    """Write several tiles as one change, past the control loop."""
    writes = []
    for tile, record in changes["tiles"].items():
        found = (await process.live.read_tiles([tile])).get(tile)
        writes.append(TileWrite(tile, found.version if found else 0, record))
    committed = await process.live.commit(None, writes)
    assert not committed.tile_conflicts
    await process.view.caught_up(committed.version, timeout_seconds=30)


async def about_to_cut_over(start: Starts, make_pod: MakesPod) -> tuple[FleetProcess, InterruptedLive, TileId]:
    """A drains, and B prepares for its tile; the cycle that hears of B's being ready will reserve epochs as well."""
    process, live = await interrupted(start)
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    await process.until(lambda fleet: _is_working(process, tile, a), "A works")
    a.does = ()
    b = await make_pod(process, B)
    b.does = ()
    await Operator(process.live, process.view).drain(A)
    await process.until(lambda fleet: fleet.tiles.next, "B is to prepare")
    return process, live, tile


def _is_working(process: FleetProcess, tile: TileId, pod: SimulatedPod) -> bool:
    record = process.view.current().record(tile)
    return bool(record and record.owner and record.owner.pod_id == pod.id and record.owner.acknowledged_at_ms)


async def cut_over_and_place(process: FleetProcess, tile: TileId) -> None:
    """One change after which a cycle has both to cut over the tile and to place another one."""
    record = record_in(process.view.current(), tile)
    assert record.next is not None
    ready = msgspec.structs.replace(record, next=msgspec.structs.replace(record.next, ready=True))
    await write(process, tiles={tile: ready, OTHER_TILE: TileRecord(TENANT)})
    await process.until(lambda fleet: record_in(fleet, OTHER_TILE).owner, "the other tile is placed")


async def test_a_session_that_stops_while_its_tile_is_cut_over_stays_stopped(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, live, tile = await about_to_cut_over(start, make_pod)
    live.before["reserve_versions"] = lambda: _retire(process)
    await cut_over_and_place(process, tile)
    record = record_in(process.view.current(), tile)
    assert record.retiring
    assert record.draining is not None
    assert (record.owner, record.draining.pod_id) == (None, A)


async def test_a_change_that_comes_while_others_are_placed_is_kept(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, live, tile = await about_to_cut_over(start, make_pod)
    record = record_in(process.view.current(), tile)

    async def change() -> None:
        await write(process, tiles={tile: msgspec.structs.replace(record, next=None, capacity=7.0)})

    live.before["reserve_versions"] = change
    await cut_over_and_place(process, tile)
    after = process.view.current().record(tile)
    assert after is not None
    assert after.capacity == 7.0


async def test_a_tile_that_goes_while_it_is_cut_over_stays_gone(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, live, tile = await about_to_cut_over(start, make_pod)
    live.before["reserve_versions"] = lambda: write(process, tiles={tile: None})
    await cut_over_and_place(process, tile)
    assert process.view.current().record(tile) is None


@pytest.mark.parametrize("interruption", ["retire", "remove"])
async def test_a_tile_that_stops_while_its_move_is_planned_is_not_moved(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, interruption: str
) -> None:
    process, live = await interrupted(start)
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    await process.until(lambda fleet: _is_working(process, tile, a), "A works")
    a.does = ()
    await make_pod(process, B)
    hooks: dict[str, Hook] = {
        "retire": lambda: _retire(process),
        "remove": lambda: write(process, tiles={tile: None}),
    }
    live.before["reserve_versions"] = hooks[interruption]
    await Operator(process.live, process.view).drain(A)
    await eventually(lambda: not live.before, "the interruption")
    cycles = len(process.cycles)
    await eventually(lambda: len(process.cycles) > cycles + 1, "the loop goes on")
    record = process.view.current().record(tile)
    assert record is None or (record.retiring and record.next is None)


async def test_rebalancing_by_hand_outlives_a_pod_that_leaves_in_that_moment(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, live = await interrupted(start)
    (tile,) = await add_tiles(process, 1)
    former = await make_pod(process, C)
    await process.until(lambda fleet: _is_working(process, tile, former), "C works")
    former.does = ()
    owner = await make_pod(process, A)
    await Operator(process.live, process.view).drain(C)
    await process.until(lambda fleet: _is_working(process, tile, owner) and fleet.tiles.draining, "C drains, A works")
    heir = await make_pod(process, B)

    async def leave() -> None:
        await owner.die()
        await process.pods.deregister(owner.lease)

    live.after["take_requests"] = leave
    plan = await Rebalancing(process.live, process.view, WITHOUT_COOL_DOWN).apply(None, None)
    assert [move.target for move in plan.moves] == [B]
    await process.until(lambda fleet: _is_working(process, tile, heir), "B works")


async def test_leadership_is_renewed_however_long_a_cycle_is(start: Starts, history: OwnershipHistory) -> None:
    process, live = await interrupted(start, cycle_seconds=60.0, leader_lease_ms=400)
    await eventually(lambda: live.calls["keep_leading"] >= 8, "the lease was renewed eight times")
    assert live.calls["begin_term"] == 1
    assert process.candidacy.leads


async def _retire(process: FleetProcess) -> None:
    await Retirement(process.live, process.view).retire_session(SESSION)


async def test_leadership_is_renewed_while_many_tiles_are_written(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carrying_out, "TILES_PER_COMMIT_MAX", 1)
    process, live = await interrupted(start, leader_lease_ms=500)
    await add_tiles(process, 15)
    live.seconds["commit"] = 0.1
    await make_pod(process, A)
    await process.until(lambda fleet: len(fleet.terms_of_pod(A)) == 15, "all tiles are placed")
    assert live.calls["begin_term"] == 1


async def test_a_pod_keeps_what_it_is_given_while_it_registers(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start()
    (tile,) = await add_tiles(process, 1)
    live = InterruptedLive(process.live)

    async def be_given_the_tile() -> None:
        await process.until(lambda fleet: fleet.terms_of_pod(A), "the pod is given the tile")

    live.after["register_pod"] = be_given_the_tile
    registering = PodRegistering(cast(LiveFleet, live), process.view, 10_000, 10_000, token_urlsafe)
    registered = await registering.register(NewPod(A, "test", 100.0))
    assert [one.tile_id for one in registered.assignments] == [tile]
    assert len([moment for moment in history.of(tile) if moment.record and moment.record.owner]) == 1


async def test_a_tile_is_not_taken_from_a_lost_pod_that_is_back_with_it(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, live = await interrupted(start)
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    await process.until(lambda fleet: _is_working(process, tile, a), "A works")
    await make_pod(process, B)
    (term,) = a.terms()
    live.before["reserve_versions"] = lambda: a.live(held={tile: term.term.epoch})
    await a.die()
    await eventually(lambda: not live.before, "A is lost, and comes back while its tile is given away")
    cycles = len(process.cycles)
    await eventually(lambda: len(process.cycles) > cycles + 1, "the loop goes on")
    record = record_in(process.view.current(), tile)
    assert record.owner is not None
    assert (record.owner.pod_id, record.owner.epoch) == (A, term.term.epoch)
