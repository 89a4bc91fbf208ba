"""The control loop on a real Valkey: tiles are placed, moved make-before-break, and taken from pods that are lost."""

from typing import Any

import pytest

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason, AssignmentState
from subgraph.domain.pods import PodStatus
from subgraph.operations.by_hand.operator import Operator
from subgraph.operations.coverage.retirement import Retirement
from tests.operations.conftest import MakesPod, Starts, add_tiles
from tests.support.fleet_process import FleetProcess, Pace
from tests.support.fleets import SESSION, A, B, C
from tests.support.ownership_history import OwnershipHistory
from tests.support.polling import eventually
from tests.support.records import owner_in, record_in
from tests.support.simulated_pod import SimulatedPod

pytestmark = pytest.mark.anyio

PREPARING, ACTIVE, DRAINING = AssignmentState.PREPARING, AssignmentState.ACTIVE, AssignmentState.DRAINING


def owners(fleet: Fleet) -> dict[TileId, PodId]:
    """Who owns each tile and has said that it works."""
    records = {tile_id: fleet.record(tile_id) for tile_id, _ in fleet.tiles.items()}
    return {
        tile_id: record.owner.pod_id
        for tile_id, record in records.items()
        if record and record.owner and record.owner.acknowledged_at_ms
    }


def epochs(fleet: Fleet) -> dict[TileId, int]:
    records = {tile_id: fleet.record(tile_id) for tile_id, _ in fleet.tiles.items()}
    return {tile_id: record.epoch_in_force for tile_id, record in records.items() if record}


def statuses(fleet: Fleet) -> dict[PodId, PodStatus]:
    return {pod.id: pod.record.status for pod in fleet.pods}


async def owned_by_all(process: FleetProcess, ids: list[TileId], *pods: SimulatedPod) -> Fleet:
    """The fleet once these pods, and no others, own these tiles, and nothing is under way."""

    def is_so(fleet: Fleet) -> bool:
        working = owners(fleet)
        settled = not fleet.tiles.next and not fleet.tiles.draining
        return settled and working.keys() == set(ids) and set(working.values()) == {pod.id for pod in pods}

    return await process.until(is_so, f"{', '.join(pod.id for pod in pods)} own {len(ids)} tiles")


async def test_tiles_are_spread_over_the_pods_that_are_ready(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start()
    a, b = await make_pod(process, A), await make_pod(process, B)
    ids = await add_tiles(process, 20)
    fleet = await owned_by_all(process, ids, a, b)
    assert {len(fleet.terms_of_pod(pod.id)) for pod in (a, b)} == {10}
    assert {owner_in(fleet, one).reason for one in ids} == {AssignmentReason.INITIAL}


async def test_tiles_wait_for_the_first_pod(start: Starts, make_pod: MakesPod, history: OwnershipHistory) -> None:
    process = await start()
    ids = await add_tiles(process, 3)
    await eventually(lambda: process.cycles and process.cycles[-1].report.skip == "NO_PODS", "no pods is said")
    await owned_by_all(process, ids, await make_pod(process, A))


async def test_a_pod_whose_lease_lapses_is_lost_and_its_tiles_work_elsewhere_at_higher_epochs(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start()
    ids = await add_tiles(process, 10)
    a, b = await make_pod(process, A), await make_pod(process, B)
    before = epochs(await owned_by_all(process, ids, a, b))
    lost_tiles = {one.tile_id for one in a.terms()}
    await a.die()
    fleet = await owned_by_all(process, ids, b)
    assert statuses(fleet) == {A: PodStatus.LOST, B: PodStatus.READY}
    assert {one for one, epoch in epochs(fleet).items() if epoch > before[one]} == lost_tiles
    assert {one for one, epoch in epochs(fleet).items() if epoch == before[one]} == set(ids) - lost_tiles
    lost = [pod for cycle in process.cycles for pod in cycle.lost_pods]
    assert lost == [A]


async def test_a_pod_that_deregisters_is_gone_and_its_tiles_are_placed_at_once(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start(pace=Pace(pod_lease_ms=5_000, leader_lease_ms=5_000))
    ids = await add_tiles(process, 4)
    a, b = await make_pod(process, A), await make_pod(process, B)
    await owned_by_all(process, ids, a, b)
    await a.die()
    await process.pods.deregister(a.lease)
    fleet = await owned_by_all(process, ids, b)
    assert statuses(fleet)[A] is PodStatus.GONE


async def test_a_drain_moves_each_tile_make_before_break(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start()
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    old = (await owned_by_all(process, [tile], a)).terms_of_pod(A)[0].term
    b = await make_pod(process, B)
    b.does = ()
    await Operator(process.live, process.view).drain(A)

    await process.until(lambda fleet: fleet.terms_of_pod(B), "B is to prepare")
    (preparing,) = b.terms()
    assert (preparing.state, preparing.term.reason) == (PREPARING, AssignmentReason.POD_DRAINED)
    assert preparing.term.epoch > old.epoch
    # However long B takes, A works on at its epoch.
    cycles = len(process.cycles)
    await eventually(lambda: len(process.cycles) > cycles + 3, "more cycles")
    assert record_in(process.view.current(), tile).owner == old

    a.does = ()
    await b.acknowledge(PREPARING)
    await process.until(lambda fleet: fleet.tiles.draining, "the cut-over")
    record = record_in(process.view.current(), tile)
    assert record.owner is not None
    assert (record.owner.pod_id, record.owner.epoch) == (B, preparing.term.epoch)
    assert record.draining is not None
    assert (record.draining.pod_id, record.draining.epoch) == (A, old.epoch)

    await b.acknowledge(ACTIVE)
    await a.acknowledge(DRAINING)
    await owned_by_all(process, [tile], b)
    assert _states(history, tile) == ["-", "A", "A*", "A* next B", "A* next B!", "B draining A", "B* draining A", "B*"]


def _states(history: OwnershipHistory, tile: TileId) -> list[str]:
    """What became of a tile: owner, with * once it works; next, with ! once it is ready; former."""
    told = []
    for moment in history.of(tile):
        record = moment.record
        if record is None:
            told.append("gone")
            continue
        words = []
        if record.owner:
            words.append(record.owner.pod_id.upper() + ("*" if record.owner.acknowledged_at_ms else ""))
        if record.next:
            words.append("next " + record.next.pod_id.upper() + ("!" if record.next.ready else ""))
        if record.draining:
            words.append("draining " + record.draining.pod_id.upper())
        told.append(" ".join(words) or "-")
    return told


async def preparing(start: Starts, make_pod: MakesPod, **pace: Any) -> tuple[FleetProcess, TileId, SimulatedPod]:
    """A tile that drains from A, while the next owner, B, does not get ready."""
    process = await start(pace=Pace(**pace))
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    await owned_by_all(process, [tile], a)
    b = await make_pod(process, B)
    b.does = ()
    await Operator(process.live, process.view).drain(A)
    await process.until(lambda fleet: fleet.terms_of_pod(B), "B is to prepare")
    return process, tile, b


async def test_a_next_owner_that_dies_while_preparing_is_given_up_and_replaced(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, tile, b = await preparing(start, make_pod)
    await b.die()
    c = await make_pod(process, C)
    await owned_by_all(process, [tile], c)
    owned = [state.split()[0] for state in _states(history, tile)]
    assert owned.index("C") == len(owned) - owned[::-1].index("A*"), "A worked on until C was cut over to"
    assert "B" not in owned


async def test_a_next_owner_that_takes_too_long_is_given_up(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process, tile, _ = await preparing(start, make_pod, handoff=HandoffPolicy(prepare_timeout_ms=300))
    first = record_in(process.view.current(), tile).next
    await process.until(
        lambda fleet: fleet.tiles.next and record_in(fleet, tile).next != first,
        "B is asked again",
    )
    assert _states(history, tile)[-3:] == ["A* next B", "A*", "A* next B"]


async def test_a_live_pod_that_never_takes_over_is_told_again_and_then_loses_its_tiles_to_one_that_does(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    policy = HandoffPolicy(prepare_timeout_ms=200, take_over_timeout_ms=900, tell_again_ms=200, shunned_ms=60_000)
    process = await start(pace=Pace(handoff=policy))
    a = await make_pod(process, A)
    a.does = ()
    ids = await add_tiles(process, 4)

    def told_again(fleet: Fleet) -> bool:
        return all(one.term.reminders > 4 for one in fleet.terms_of_pod(A)) and len(fleet.terms_of_pod(A)) == 4

    # There is nobody else to take them: the slow pod keeps them beyond the time-out.
    await process.until(told_again, "it is told again")
    b = await make_pod(process, B)
    fleet = await owned_by_all(process, ids, b)
    assert {owner_in(fleet, one).reason for one in ids} == {AssignmentReason.NOT_TAKEN_OVER}
    assert {record_in(fleet, one).suspicion for one in ids} == {None}
    slow = fleet.pods.get(A)
    assert slow is not None
    assert slow.record.status is PodStatus.READY
    assert not slow.record.receives_tiles(process.view.now_ms())
    more = await add_tiles(process, 8)
    await owned_by_all(process, [*ids, *more], b)


async def test_an_owner_that_dies_while_another_prepares_is_followed_by_that_one(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start()
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    await owned_by_all(process, [tile], a)
    b = await make_pod(process, B)
    b.does = (ACTIVE,)
    await Operator(process.live, process.view).drain(A)
    await process.until(lambda fleet: fleet.terms_of_pod(B), "B is to prepare")
    epoch = b.terms()[0].term.epoch
    await a.die()
    fleet = await owned_by_all(process, [tile], b)
    assert epochs(fleet) == {tile: epoch}


async def test_a_former_owner_that_never_releases_is_not_waited_for_for_ever(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start(pace=Pace(handoff=HandoffPolicy(drain_timeout_ms=300)))
    (tile,) = await add_tiles(process, 1)
    a = await make_pod(process, A)
    await owned_by_all(process, [tile], a)
    a.does = ()
    b = await make_pod(process, B)
    await Operator(process.live, process.view).drain(A)
    await owned_by_all(process, [tile], b)


async def test_a_new_instance_of_a_pod_keeps_the_tiles_it_holds_and_no_others(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start()
    kept, let_go = await add_tiles(process, 2)
    former = await make_pod(process, A)
    before = epochs(await owned_by_all(process, [kept, let_go], former))
    await former.die()
    new = await make_pod(process, A, lives=False)
    new_terms = (await new.register({kept: before[kept], let_go: before[let_go] - 1})).assignments
    assert [(one.tile_id, one.term.epoch) for one in new_terms] == [(kept, before[kept])]
    # Nobody else is there: what was let go comes back to the pod, in a term of its own.
    await process.until(lambda fleet: len(fleet.terms_of_pod(A)) == 2, "the other tile is placed again")
    after = epochs(process.view.current())
    assert after[kept] == before[kept]
    assert after[let_go] > before[let_go]


async def test_the_tiles_of_a_stopped_session_go_when_their_owners_have_released_them(
    start: Starts, make_pod: MakesPod, history: OwnershipHistory
) -> None:
    process = await start()
    ids = await add_tiles(process, 4)
    a, b = await make_pod(process, A), await make_pod(process, B)
    await owned_by_all(process, ids, a, b)
    a.does = b.does = ()
    await Retirement(process.live, process.view).retire_session(SESSION)
    fleet = process.view.current()
    assert [one.state for pod in (a, b) for one in pod.terms()] == [DRAINING] * 4
    assert len(fleet.tiles) == 4
    released = await a.acknowledge(DRAINING)
    await process.until(lambda fleet: len(fleet.tiles) == 4 - len(released), "the released tiles are gone")
    await b.acknowledge(DRAINING)
    await process.until(lambda fleet: not len(fleet.tiles), "all tiles are gone")
    assert {_states(history, one)[-1] for one in ids} == {"gone"}


async def test_a_dead_pod_is_forgotten_in_time(start: Starts, make_pod: MakesPod, history: OwnershipHistory) -> None:
    process = await start(pace=Pace(handoff=HandoffPolicy(forget_pods_after_ms=100)))
    pod = await make_pod(process, A)
    await process.until(lambda fleet: statuses(fleet) == {A: PodStatus.READY}, "the pod is ready")
    await pod.die()
    await process.until(lambda fleet: statuses(fleet) == {}, "the pod is forgotten")
