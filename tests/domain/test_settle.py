"""What happens to tiles without planning: lost owners, due cut-overs, phases that take too long, stopped sessions."""

import pytest

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.settle import at_fault, lost_owners, pods_to_forget, pods_to_lose, settle
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord, PodStatus
from tests.support.fleets import T1, T2, T3, A, B, C, fleet_of, held, pod, term, tile

NOW_MS = 100_000
POLICY = HandoffPolicy(
    prepare_timeout_ms=1_000,
    take_over_timeout_ms=5_000,
    tell_again_ms=1_000,
    drain_timeout_ms=2_000,
    forget_pods_after_ms=60_000,
)
LOST = pod(status=PodStatus.LOST, status_at_ms=NOW_MS)
GONE = pod(status=PodStatus.GONE)


def settled(
    record: TileRecord, *, lost: frozenset[PodId] = frozenset(), **pods: PodRecord
) -> dict[TileId, TileRecord | None]:
    given = {PodId(pod_id): pods.get(pod_id, pod()) for pod_id in "abc"}
    return settle(fleet_of({T1: record, T2: tile(owner=held(C, 3)), T3: tile()}, given), NOW_MS, lost, POLICY)


def test_what_is_settled_is_left_alone() -> None:
    assert settled(tile(owner=held(A, 7))) == {}


@pytest.mark.parametrize("status", [PodStatus.READY, PodStatus.CORDONED, PodStatus.DRAINING])
def test_the_tiles_of_a_live_pod_are_left_alone(status: PodStatus) -> None:
    assert settled(tile(owner=held(A, 7)), a=pod(status=status)) == {}


@pytest.mark.parametrize("dead", [LOST, GONE])
def test_the_tiles_of_a_pod_that_is_lost_or_gone_have_no_owner_any_more(dead: PodRecord) -> None:
    assert settled(tile(owner=held(A, 7)), a=dead) == {T1: tile(last_epoch=7)}


def test_a_pod_lost_in_this_very_cycle_counts_though_its_record_does_not_show_it() -> None:
    assert settled(tile(owner=held(A, 7)), lost=frozenset({A})) == {T1: tile(last_epoch=7)}


def test_nothing_is_decided_about_a_pod_whose_record_has_not_come() -> None:
    assert settle(fleet_of({T1: tile(owner=held(A, 7))}), NOW_MS, frozenset(), POLICY) == {}


def test_a_ready_next_owner_is_cut_over_to() -> None:
    moving = tile(owner=held(A, 7), next=term(B, 9, ready=True, at=NOW_MS))
    after = tile(
        owner=term(B, 9, ready=True, at=NOW_MS, in_force_at_ms=NOW_MS), draining=held(A, 7, draining_since_ms=NOW_MS)
    )
    assert settled(moving) == {T1: after}


def test_a_next_owner_that_is_not_ready_has_until_its_time_out() -> None:
    assert settled(tile(owner=held(A, 7), next=term(B, 9, at=NOW_MS - 1_000))) == {}
    late = tile(owner=held(A, 7), next=term(B, 9, at=NOW_MS - 1_001))
    assert settled(late) == {T1: tile(owner=held(A, 7))}


def test_a_next_owner_that_is_lost_is_given_up_ready_or_not() -> None:
    for ready in (False, True):
        moving = tile(owner=held(A, 7), next=term(B, 9, ready=ready, at=NOW_MS))
        assert settled(moving, b=LOST) == {T1: tile(owner=held(A, 7))}


def test_an_owner_lost_while_another_prepares_is_followed_by_that_one_at_once() -> None:
    moving = tile(owner=held(A, 7), next=term(B, 9, at=NOW_MS))
    assert settled(moving, a=LOST) == {T1: tile(owner=term(B, 9, ready=True, at=NOW_MS, in_force_at_ms=NOW_MS))}


def test_owner_and_next_lost_together_leave_the_tile_to_be_placed() -> None:
    moving = tile(owner=held(A, 7), next=term(B, 9, at=NOW_MS))
    assert settled(moving, a=LOST, b=LOST) == {T1: tile(last_epoch=7)}


def test_a_former_owner_has_until_its_time_out_to_release() -> None:
    draining = tile(owner=held(B, 9), draining=held(A, 7, draining_since_ms=NOW_MS - 2_000))
    assert settled(draining) == {}
    late = tile(owner=held(B, 9), draining=held(A, 7, draining_since_ms=NOW_MS - 2_001))
    assert settled(late) == {T1: tile(owner=held(B, 9))}


def test_a_former_owner_that_is_lost_releases_nothing_any_more() -> None:
    draining = tile(owner=held(B, 9), draining=held(A, 7, draining_since_ms=NOW_MS))
    assert settled(draining, a=LOST) == {T1: tile(owner=held(B, 9))}


def test_an_owner_lost_while_the_former_one_drains_leaves_that_one_to_drain() -> None:
    draining = tile(owner=held(B, 9), draining=held(A, 7, draining_since_ms=NOW_MS))
    assert settled(draining, b=LOST) == {T1: tile(draining=held(A, 7, draining_since_ms=NOW_MS), last_epoch=9)}


def test_a_retiring_tile_goes_with_its_last_term() -> None:
    retiring = tile(draining=held(A, 7, draining_since_ms=NOW_MS), retiring=True, last_epoch=7)
    assert settled(retiring) == {}
    assert settled(retiring, a=LOST) == {T1: None}
    late = tile(draining=held(A, 7, draining_since_ms=NOW_MS - 2_001), retiring=True, last_epoch=7)
    assert settled(late) == {T1: None}
    assert settled(tile(retiring=True)) == {T1: None}


def leases(now_ms: int, not_before_ms: int = 0, **pods: PodRecord) -> list[PodId]:
    fleet = fleet_of({}, {PodId(pod_id): record for pod_id, record in pods.items()}, leases_end_at_ms=50_000)
    return [one.id for one in pods_to_lose(fleet, now_ms, not_before_ms)]


def test_a_pod_is_lost_when_its_lease_ends_and_not_before() -> None:
    assert leases(49_999, a=pod()) == []
    assert leases(50_000, a=pod()) == [A]


def test_a_new_leader_declares_nobody_lost_before_its_time() -> None:
    assert leases(60_000, not_before_ms=60_001, a=pod()) == []
    assert leases(60_001, not_before_ms=60_001, a=pod()) == [A]


def test_only_live_and_known_pods_can_be_lost() -> None:
    assert leases(60_000, a=LOST, b=GONE, c=pod(status=PodStatus.DRAINING)) == [C]
    assert pods_to_lose(fleet_of({T1: tile(owner=held(A, 7))}), 60_000, 0) == []


def forgotten(fleet: Fleet) -> list[PodId]:
    return [one.id for one in pods_to_forget(fleet, NOW_MS, POLICY)]


def test_a_dead_pod_is_forgotten_after_a_while_when_no_term_names_it_any_more() -> None:
    old, young = LOST.with_status(PodStatus.GONE, NOW_MS - 60_001), LOST.with_status(PodStatus.LOST, NOW_MS - 60_000)
    assert forgotten(fleet_of({}, {A: old, B: young, C: pod()})) == [A]
    for named in (tile(owner=held(A, 7)), tile(next=term(A, 7)), tile(draining=held(A, 7))):
        assert forgotten(fleet_of({T1: named}, {A: old})) == []


def waiting(waited_ms: int, **facts: object) -> TileRecord:
    """A tile whose owner A has not said that it works, so long after it was given the tile."""
    return tile(owner=term(A, 7, ready=True, at=NOW_MS - waited_ms, **facts))


def test_an_owner_that_does_not_say_that_it_works_is_told_again_and_again() -> None:
    assert settled(waiting(999)) == {}
    assert settled(waiting(1_000)) == {T1: waiting(1_000, reminders=1)}
    assert settled(waiting(1_999, reminders=1)) == {}
    # Rounds that nobody led are not made up for.
    assert settled(waiting(4_500, reminders=1)) == {T1: waiting(4_500, reminders=4)}


def test_an_owner_that_has_not_taken_over_in_time_has_the_tile_no_more() -> None:
    assert settled(waiting(5_000, reminders=5)) == {}
    assert settled(waiting(5_001, reminders=5)) == {T1: tile(last_epoch=7, not_taken_over=True)}


def test_a_tile_of_a_slow_owner_that_moves_anyway_is_cut_over_to() -> None:
    moving = tile(owner=term(A, 7, ready=True, at=NOW_MS - 5_001), next=term(B, 9, at=NOW_MS))
    assert settled(moving) == {T1: tile(owner=term(B, 9, ready=True, at=NOW_MS, in_force_at_ms=NOW_MS))}


def test_the_time_to_take_over_counts_from_the_cut_over() -> None:
    owner = term(A, 7, ready=True, at=NOW_MS - 60_000, in_force_at_ms=NOW_MS - 5_000, reminders=5)
    assert settled(tile(owner=owner)) == {}
    late = term(A, 7, ready=True, at=NOW_MS - 60_000, in_force_at_ms=NOW_MS - 5_001, reminders=5)
    assert settled(tile(owner=late)) == {T1: tile(last_epoch=7, not_taken_over=True)}


def test_a_new_leader_takes_nothing_from_a_slow_owner_but_tells_it_again() -> None:
    fleet = fleet_of({T1: waiting(5_001)}, {A: pod(), B: pod()})
    assert settle(fleet, NOW_MS, frozenset(), POLICY, takes=False) == {T1: waiting(5_001, reminders=5)}


@pytest.mark.parametrize("others", [pod(status=PodStatus.CORDONED), pod(shunned_until_ms=NOW_MS + 1), GONE])
def test_where_nobody_else_receives_tiles_a_slow_owner_keeps_its_own_and_is_told_again(others: PodRecord) -> None:
    assert T1 not in settled(waiting(60_000, reminders=60), b=others, c=others)
    assert settled(waiting(60_000, reminders=59), b=others, c=others)[T1] == waiting(60_000, reminders=60)


def test_a_slow_owner_is_at_fault_and_a_dead_one_is_lost() -> None:
    tiles = {T1: waiting(5_001), T2: tile(owner=held(B, 8)), T3: tile(owner=held(C, 9))}
    fleet = fleet_of(tiles, {A: pod(), B: LOST, C: pod(), PodId("d"): pod()})
    after = settle(fleet, NOW_MS, frozenset({C}), POLICY)
    assert set(after) == {T1, T2, T3}
    assert at_fault(fleet, after, {C}) == {A: 1}
    assert lost_owners(fleet, after, {C}) == {T2: B, T3: C}


def test_what_an_owner_has_not_taken_over_says_nothing_against_the_tile() -> None:
    assert settled(waiting(5_001))[T1] == tile(last_epoch=7, suspicion=None, not_taken_over=True)
