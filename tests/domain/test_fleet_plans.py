"""From the picture to a plan by names: what may move, what may not, and why each tile goes where it goes."""

import msgspec
import pytest

from subgraph.domain.fleet.fleet_plan import FleetPlan, Unplaceable
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, needs_planning
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason, TileRecord
from subgraph.domain.pods import PodRecord, PodStatus
from tests.support.fleets import T1, T2, T3, A, B, C, fleet_of, held, pod, report, reported, term, tile, tile_ids
from tests.support.planned_fleet import plan_fleet

NOW_MS = 1_000_000
POLICY = PlacementPolicy(cool_down_ms=10_000, joined_within_ms=30_000)
DRAINING = pod(status=PodStatus.DRAINING)
LOST = pod(status=PodStatus.LOST)


def moves(plan: FleetPlan) -> dict[TileId, tuple[PodId | None, PodId, AssignmentReason]]:
    return {move.tile_id: (move.source, move.target, move.reason) for move in plan.moves}


def planned(fleet: Fleet, **how: object) -> FleetPlan:
    return plan_fleet(fleet, "plan", NOW_MS, POLICY, **how)


def uneven(count: int = 10, *, pods: dict[PodId, PodRecord] | None = None, **facts: object) -> Fleet:
    """A has all tiles, each with a load of 1; B has none."""
    ids = tile_ids(count)
    fleet = fleet_of({one: tile(owner=held(A, 1, **facts)) for one in ids}, pods or {A: pod(), B: pod()})
    fleet.ingest(reported(NOW_MS, report(A, dict.fromkeys(ids, 1.0))))
    return fleet


def test_a_tile_nobody_ever_owned_is_placed_initially() -> None:
    fleet = fleet_of({T1: tile()}, {A: pod()})
    assert moves(planned(fleet)) == {T1: (None, A, AssignmentReason.INITIAL)}


def test_a_tile_that_lost_its_owner_is_placed_for_that_reason() -> None:
    fleet = fleet_of({T1: tile(last_epoch=7)}, {A: pod()})
    assert moves(planned(fleet)) == {T1: (None, A, AssignmentReason.POD_LOST)}


def test_tiles_of_dead_pods_count_as_unowned() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 7)), T2: tile(owner=held(C, 8))}, {A: LOST, B: pod(), C: pod()})
    plan = planned(fleet, lost={C})
    assert moves(plan) == dict.fromkeys((T1, T2), (None, B, AssignmentReason.POD_LOST))
    assert (plan.before.unassigned_tiles, plan.after.unassigned_tiles) == (2, 0)


@pytest.mark.parametrize("status", [PodStatus.CORDONED, PodStatus.DRAINING, PodStatus.LOST, PodStatus.GONE])
def test_only_ready_pods_receive_tiles(status: PodStatus) -> None:
    plan = planned(fleet_of({T1: tile()}, {A: pod(status=status)}))
    assert moves(plan) == {}
    assert plan.unplaceable == [Unplaceable(T1, ("NO_PODS",))]
    assert plan.skipped == "NO_PODS"


def test_a_full_pod_receives_nothing_more() -> None:
    plan = planned(fleet_of({T1: tile(owner=held(A, 7)), T2: tile()}, {A: pod(tiles_max=1)}))
    assert plan.unplaceable == [Unplaceable(T2, ("ALL_PODS_FULL",))]


def test_a_draining_pods_tiles_leave_it() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 7))}, {A: DRAINING, B: pod()})
    assert moves(planned(fleet)) == {T1: (A, B, AssignmentReason.POD_DRAINED)}


def test_a_cordoned_pod_keeps_its_tiles() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 7))}, {A: pod(status=PodStatus.CORDONED), B: pod()})
    assert moves(planned(fleet)) == {}


@pytest.mark.parametrize(
    "record",
    [
        tile(owner=held(A, 7), next=term(B, 9)),
        tile(owner=held(A, 7), draining=held(C, 5)),
        tile(owner=term(A, 7)),  # not acknowledged yet
        tile(draining=held(A, 7), retiring=True),
    ],
    ids=["preparing", "draining", "unacknowledged", "retiring"],
)
def test_a_tile_in_the_middle_of_something_is_not_moved(record: TileRecord) -> None:
    fleet = fleet_of({T1: record}, {A: DRAINING, B: pod(), C: pod()})
    assert moves(planned(fleet)) == {}


def test_a_tile_moved_a_moment_ago_is_not_balanced_again_unless_by_hand() -> None:
    assert moves(planned(uneven(at=NOW_MS - 9_999))) == {}
    assert moves(planned(uneven(at=NOW_MS - 10_000))) != {}
    assert moves(planned(uneven(at=NOW_MS - 9_999), by_hand=True)) != {}


def test_no_tile_of_a_draining_pod_cools_down() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 7, at=NOW_MS - 1))}, {A: DRAINING, B: pod()})
    assert moves(planned(fleet)) == {T1: (A, B, AssignmentReason.POD_DRAINED)}


def test_a_move_under_way_counts_as_done() -> None:
    tiles = {T1: tile(owner=held(A, 1), next=term(B, 9)), T2: tile(owner=held(A, 1))}
    fleet = fleet_of(tiles, {A: pod(), B: pod()})
    fleet.ingest(reported(NOW_MS, report(A, {T1: 1.0, T2: 1.0})))
    plan = planned(fleet)
    assert (moves(plan), plan.before.imbalance) == ({}, 1.0)


def test_a_tile_of_a_pod_that_is_not_known_yet_is_left_alone() -> None:
    fleet = fleet_of({T1: tile(owner=held(C, 7)), T2: tile(owner=held(A, 7), next=term(C, 8))}, {A: LOST, B: pod()})
    assert moves(planned(fleet)) == {}


def test_what_this_cycle_writes_anyway_is_planned_on() -> None:
    before = {
        T1: tile(owner=held(C, 7)),
        T2: tile(owner=held(A, 7), next=term(B, 9, ready=True)),
        T3: tile(draining=held(A, 7), retiring=True),
    }
    fleet = fleet_of(before, {A: DRAINING, B: pod(), C: LOST})
    settled = {T1: tile(last_epoch=7), T2: tile(owner=held(B, 9), draining=held(A, 7)), T3: None}
    plan = planned(fleet, settled=settled)
    assert moves(plan) == {T1: (None, B, AssignmentReason.POD_LOST)}


def test_a_tile_that_settling_takes_from_a_live_pod_goes_to_another_one_and_the_reason_is_told() -> None:
    before = {T1: tile(owner=term(A, 7, ready=True)), T2: tile()}
    fleet = fleet_of(before, {A: pod(capacity=1_000), B: pod()})
    assert moves(planned(fleet, settled={T1: tile(last_epoch=7)})) == {
        T1: (None, B, AssignmentReason.NOT_TAKEN_OVER),
        T2: (None, B, AssignmentReason.INITIAL),
    }


def test_a_shunned_pod_receives_nothing_but_where_all_are_shunned_tiles_are_placed_all_the_same() -> None:
    shunned = pod(shunned_until_ms=NOW_MS + 1)
    assert moves(planned(fleet_of({T1: tile()}, {A: shunned, B: pod()})))[T1][1] == B
    assert moves(planned(fleet_of({T1: tile()}, {A: shunned})))[T1][1] == A
    over = pod(shunned_until_ms=NOW_MS, capacity=1_000)
    assert moves(planned(fleet_of({T1: tile()}, {A: over, B: pod()})))[T1][1] == A


def test_balancing_says_why() -> None:
    reasons = {reason for _, _, reason in moves(planned(uneven())).values()}
    assert reasons == {AssignmentReason.LOAD_BALANCE}
    new = {A: pod(), B: pod(registered_at_ms=NOW_MS - 29_999)}
    assert {reason for *_, reason in moves(planned(uneven(pods=new))).values()} == {AssignmentReason.POD_JOINED}
    by_hand = planned(uneven(pods=new), by_hand=True)
    assert {reason for *_, reason in moves(by_hand).values()} == {AssignmentReason.MANUAL}


def test_a_plan_says_what_it_was_decided_on_and_what_it_is_good_for() -> None:
    fleet = uneven()
    plan = planned(fleet, by_hand=True)
    assert {(move.tile_version, move.target_version, move.source) for move in plan.moves} == {(10, 10, A)}
    assert (plan.id, plan.base_version, plan.created_at_ms) == ("plan", 10, NOW_MS)
    assert plan.expires_at_ms > NOW_MS
    assert plan.before.imbalance == 2.0
    assert plan.after.imbalance < plan.before.imbalance
    assert plan.churn == sum(move.load for move in plan.moves) > 0


def test_within_hysteresis_only_an_operator_moves_anything() -> None:
    ids = tile_ids(100)
    # 53 to 47: 1.06 of the mean, above the target and below the trigger.
    tiles = {one: tile(owner=held(A if n < 53 else B, 1)) for n, one in enumerate(ids)}
    fleet = fleet_of(tiles, {A: pod(), B: pod()})
    fleet.ingest(reported(NOW_MS, report(A, dict.fromkeys(ids[:53], 1.0))))
    fleet.ingest(reported(NOW_MS, report(B, dict.fromkeys(ids[53:], 1.0))))
    regular = planned(fleet)
    assert (regular.moves, regular.skipped) == ([], "WITHIN_HYSTERESIS")
    assert planned(fleet, by_hand=True).moves


def test_a_plan_says_what_it_waits_for() -> None:
    assert planned(uneven(at=NOW_MS - 9_999)).skipped == "COOLING_DOWN"
    ids = tile_ids(10)
    fleet = fleet_of({one: tile(owner=term(A, 1)) for one in ids}, {A: pod(), B: pod()})
    fleet.ingest(reported(NOW_MS, report(A, dict.fromkeys(ids, 1.0))))
    assert planned(fleet).skipped == "HANDOFFS_IN_FLIGHT"


def test_a_pod_that_joined_gets_tiles_also_where_nobody_is_too_hot() -> None:
    ids = tile_ids(1_200)
    pods = [PodId(f"pod-{number:02}") for number in range(24)]
    tiles = {one: tile(owner=held(pods[n % 24], 1)) for n, one in enumerate(ids)}
    new = PodId("pod-24")
    records = {**{one: pod() for one in pods}, new: pod(registered_at_ms=NOW_MS - 1_000)}
    plan = planned(fleet_of(tiles, records))
    assert {(target, reason) for _, target, reason in moves(plan).values()} == {(new, AssignmentReason.POD_JOINED)}
    assert (plan.churn, plan.fill_churn) == (0.0, 12.0)


def test_nothing_to_plan_is_said_with_its_reason() -> None:
    assert planned(fleet_of({}, {A: pod()})).skipped == "NO_TILES"
    assert planned(fleet_of({T1: tile(owner=held(A, 7))}, {A: pod()})).skipped == "BALANCED"


def test_a_plan_is_read_as_it_was_kept() -> None:
    plan = planned(uneven())
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plan), type=FleetPlan) == plan


@pytest.mark.parametrize(
    ("record", "pods", "expected"),
    [
        (tile(owner=held(A, 7)), {A: pod()}, False),
        (tile(), {A: pod()}, True),
        (tile(retiring=True, draining=held(A, 7)), {A: pod()}, False),
        (tile(owner=held(A, 7)), {A: DRAINING}, True),
        (tile(owner=held(B, 7)), {A: DRAINING, B: pod()}, False),
    ],
)
def test_what_cannot_wait_for_the_next_round(record: TileRecord, pods: dict[PodId, PodRecord], expected: bool) -> None:
    assert needs_planning(fleet_of({T1: record}, pods), {}, NOW_MS) is expected


def test_a_tile_that_loses_its_owner_in_this_cycle_cannot_wait() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 7))}, {A: LOST})
    assert needs_planning(fleet, {T1: tile(last_epoch=7)}, NOW_MS)
    assert not needs_planning(fleet, {T1: None}, NOW_MS)
    assert not needs_planning(fleet, {T1: tile(retiring=True, draining=held(A, 7))}, NOW_MS)
