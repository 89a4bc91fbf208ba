"""When the planner does nothing, how it places what has no owner, and how it empties draining pods."""

from dataclasses import replace

import numpy as np
import pytest

from subgraph.domain.planning.columns import UNOWNED
from subgraph.domain.planning.plan import MoveReason, SkipReason, UnplaceableReason, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from tests.support.planning_fleets import POLICY, UNBOUNDED, carried_out, fleet, owners_after, pod_loads, settle

NAN = float("nan")

# ── Doing nothing has its reason ──────────────────────────────────────────────────────────────────────────────────


def test_a_fleet_without_tiles_says_so() -> None:
    plan = plan_rebalance(fleet([], [], [1, 1]), POLICY)
    assert (plan.skip, plan.tiles.size, plan.after.imbalance) == (SkipReason.NO_TILES, 0, 1.0)


def test_an_empty_fleet_that_drains_says_so_too() -> None:
    assert plan_rebalance(fleet([], [], [1, 1], draining=[0]), POLICY).skip is SkipReason.NO_TILES


def test_a_fleet_without_pods_reports_every_tile_as_unplaceable() -> None:
    plan = plan_rebalance(fleet([3, 4], [UNOWNED, UNOWNED], []), POLICY)
    assert plan.skip is SkipReason.NO_PODS
    assert plan.unplaceable_tiles.tolist() == [0, 1]
    assert plan.unplaceable_reasons.tolist() == [UnplaceableReason.NO_PODS] * 2
    assert plan.after.unassigned_tiles == 2


def test_draining_tiles_without_any_accepting_pod_stay_and_are_reported() -> None:
    plan = plan_rebalance(fleet([3, 4], [0, 1], [1, 1], draining=[0], cordoned=[1]), POLICY)
    assert plan.skip is SkipReason.NO_PODS
    assert plan.unplaceable_tiles.tolist() == [0]


def test_one_pod_that_owns_everything_is_balanced() -> None:
    plan = plan_rebalance(fleet([5, 1, 9], [0, 0, 0], [1]), POLICY)
    assert (plan.skip, plan.after.imbalance) == (SkipReason.BALANCED, 1.0)


def test_a_fleet_at_the_target_is_balanced() -> None:
    plan = plan_rebalance(fleet([105, 95], [0, 1], [1, 1]), POLICY)
    assert (plan.skip, plan.churn_lower_bound) == (SkipReason.BALANCED, 0.0)


def test_between_target_and_trigger_nothing_moves() -> None:
    columns = fleet([1] * 106 + [1] * 94, [0] * 106 + [1] * 94, [1, 1])
    plan = plan_rebalance(columns, POLICY)
    assert plan.skip is SkipReason.WITHIN_HYSTERESIS
    assert plan.churn_lower_bound == pytest.approx(1.0)
    assert plan_rebalance(columns, replace(POLICY, trigger=1.055)).churn == 1.0


def test_a_tile_that_is_all_its_pod_has_is_left_alone() -> None:
    plan = plan_rebalance(fleet([90, 1, 1, 1], [0, 1, 2, 2], [1, 1, 1]), POLICY)
    assert plan.skip is SkipReason.NOTHING_FITS


def test_those_within_the_hysteresis_rest_while_a_hotter_one_cannot_be_helped() -> None:
    # Pod 0 is one heavy tile; pod 1 is above the target, 100 x 1.05, but not above the trigger.
    loads = [150] + [1] * 106 + [1] * 44
    columns = fleet(loads, [0] + [1] * 106 + [2] * 44, [1, 1, 1])
    assert plan_rebalance(columns, replace(POLICY, floor=0.0)).skip is SkipReason.NOTHING_FITS


def test_a_paused_fleet_places_what_has_no_owner_and_nothing_else() -> None:
    paused = replace(POLICY, paused=True)
    columns = fleet([1] * 30, [0] * 20 + [2] * 9 + [UNOWNED], [1, 1, 1], draining=[2])
    plan = plan_rebalance(columns, paused)
    assert (plan.tiles.tolist(), plan.targets.tolist(), plan.skip) == ([29], [1], None)
    assert plan_rebalance(carried_out(columns, plan), paused).skip is SkipReason.PAUSED


# ── Placing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_unowned_tiles_are_spread_evenly_and_exempt_of_every_budget() -> None:
    frozen = BalancePolicy(
        moves_max=0, moves_ratio_max=0, load_moved_ratio_max=0, in_flight_max=0, in_flight_ratio_max=0
    )
    plan = plan_rebalance(fleet([2] * 40, [UNOWNED] * 40, [1, 1, 1, 1], pinned=[0, 1], in_flight=9), frozen)
    assert np.bincount(plan.targets).tolist() == [10, 10, 10, 10]
    assert set(plan.reasons.tolist()) == {MoveReason.PLACED}
    assert set(plan.sources.tolist()) == {UNOWNED}
    assert (plan.churn, plan.after.imbalance, plan.before.unassigned_tiles) == (0.0, 1.0, 40)


def test_idle_tiles_spread_by_number() -> None:
    plan = plan_rebalance(fleet([0] * 12, [UNOWNED] * 12, [1, 1, 2]), POLICY)
    assert np.bincount(plan.targets).tolist() == [3, 3, 6]
    assert plan.after.max_utilization == 0.0


def test_idle_tiles_spread_by_number_among_loaded_ones_too() -> None:
    plan = plan_rebalance(fleet([10] * 4 + [0] * 12, [0, 1, 2, 3] + [UNOWNED] * 12, [1] * 4), POLICY)
    assert np.bincount(plan.targets).tolist() == [3, 3, 3, 3]


def test_idle_tiles_level_the_number_of_tiles_and_not_what_is_left_uneven_of_the_load() -> None:
    # Pod 1 has a little less load; if it got all that is idle now, it would have most to do when that wakes up.
    plan = plan_rebalance(fleet([10, 9] + [0] * 100, [0, 1] + [UNOWNED] * 100, [1, 1]), POLICY)
    assert np.bincount(plan.targets).tolist() == [50, 50]


def test_tiles_of_lost_pods_push_away_no_more_than_they_must() -> None:
    random = np.random.default_rng(8)
    loads = random.lognormal(0, 1.2, 5_000)
    columns = fleet(loads.tolist(), [UNOWNED] * 5_000, [1] * 50)
    columns = carried_out(columns, plan_rebalance(columns, POLICY))
    lost = np.where(columns.tile_pod < 3, UNOWNED, columns.tile_pod).astype(np.int32)
    columns = replace(columns, tile_pod=lost, pod_accepts=np.arange(50) >= 3)
    plan = plan_rebalance(columns, UNBOUNDED)
    room = np.sort(POLICY.target * loads.sum() / 47 - np.array(pod_loads(columns))[3:])[::-1]
    heaviest = np.sort(loads[lost == UNOWNED])[::-1][:47]
    # However they are placed, the n heaviest are on n pods at most, and what has no room there must make way.
    least = float((np.cumsum(heaviest) - np.cumsum(room[: heaviest.size])).max())
    assert least > 0
    assert plan.churn <= 1.03 * least
    assert plan.after.imbalance <= POLICY.target * (1 + 1e-9)


def test_a_dead_pods_tiles_spread_over_all_the_others() -> None:
    owners = [UNOWNED] * 30 + [pod for pod in range(9) for _ in range(30)]
    plan = plan_rebalance(fleet([1] * 300, owners, [1] * 9), POLICY)
    counts = np.bincount(plan.targets, minlength=9)
    assert set(counts.tolist()) == {3, 4}


def test_capacities_of_one_to_four_are_filled_in_proportion() -> None:
    loads = [1 + tile % 7 for tile in range(400)]
    columns = fleet(loads, [UNOWNED] * 400, [1, 2, 3, 4])
    plan = plan_rebalance(columns, POLICY)
    shares = np.array(pod_loads(carried_out(columns, plan))) / sum(loads)
    assert shares == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.002)


def test_a_tile_that_never_reported_weighs_as_much_as_the_average_one() -> None:
    plan = plan_rebalance(fleet([4, 8, NAN, NAN], [0, 0, UNOWNED, UNOWNED], [1, 1]), POLICY)
    assert plan.targets.tolist() == [1, 1]
    assert plan.loads.tolist() == [6.0, 6.0]


def test_tiles_of_which_none_ever_reported_weigh_one() -> None:
    plan = plan_rebalance(fleet([NAN] * 6, [UNOWNED] * 6, [1, 2]), POLICY)
    assert np.bincount(plan.targets).tolist() == [2, 4]
    assert plan.after.max_utilization == 2.0


def test_what_exceeds_the_tiles_a_pod_may_hold_is_reported_and_the_rest_is_placed() -> None:
    plan = plan_rebalance(fleet([9, 1, 5, 7, 3], [UNOWNED] * 5, [1, 1], tiles_max=2), POLICY)
    assert sorted(plan.targets.tolist()) == [0, 0, 1, 1]
    assert plan.unplaceable_tiles.tolist() == [1], "the lightest waits"
    assert plan.unplaceable_reasons.tolist() == [UnplaceableReason.ALL_PODS_FULL]
    assert plan.after.unassigned_tiles == 1


def test_a_full_fleet_with_a_tile_to_place_says_that_nothing_fits() -> None:
    plan = plan_rebalance(fleet([1, 1, 1], [0, 1, UNOWNED], [1, 1], tiles_max=1), POLICY)
    assert (plan.skip, plan.unplaceable_tiles.tolist()) == (SkipReason.NOTHING_FITS, [2])


def test_the_unowned_get_the_slots_before_a_draining_pods_tiles() -> None:
    plan = plan_rebalance(fleet([1, 50, 50], [UNOWNED, 0, 0], [1, 1], draining=[0], tiles_max=1), UNBOUNDED)
    assert (plan.tiles.tolist(), plan.targets.tolist()) == ([0], [1])
    assert sorted(plan.unplaceable_tiles.tolist()) == [1, 2]


# ── Evacuating ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_draining_pod_loses_every_tile_over_rounds_and_the_others_keep_theirs() -> None:
    columns = fleet([1] * 90, [0] * 30 + [1] * 30 + [2] * 30, [1, 1, 1], draining=[0])
    first = plan_rebalance(columns, POLICY)
    assert set(first.reasons.tolist()) == {MoveReason.EVACUATED}
    assert (first.loads.sum(), first.budget_bound) == (9.0, True), "a tenth of the load a round"
    settled, last = settle(columns, POLICY)
    assert pod_loads(settled) == [0.0, 45.0, 45.0]
    assert owners_after(settled, last)[30:] == [1] * 30 + [2] * 30
    assert last.skip is SkipReason.BALANCED


def test_idle_tiles_leave_a_draining_pod_too() -> None:
    plan = plan_rebalance(fleet([0] * 8, [0] * 8, [1, 1, 1], draining=[0]), POLICY)
    assert np.bincount(plan.targets).tolist() == [0, 4, 4]


def test_a_tile_that_is_not_movable_stays_even_on_a_draining_pod() -> None:
    plan = plan_rebalance(fleet([1, 1], [0, 0], [1, 1], draining=[0], pinned=[1]), UNBOUNDED)
    assert plan.tiles.tolist() == [0]


def test_evacuation_waits_for_handoffs_in_flight() -> None:
    policy = replace(UNBOUNDED, in_flight_max=5, in_flight_ratio_max=0.0)
    columns = fleet([1] * 8, [0] * 8, [1, 1], draining=[0], in_flight=3)
    assert plan_rebalance(columns, policy).tiles.size == 2
    blocked = plan_rebalance(replace(columns, tiles_in_flight=5), policy)
    assert (blocked.skip, blocked.budget_bound) == (SkipReason.BUDGET_EXHAUSTED, True)


def test_evacuating_and_balancing_share_the_limit_of_handoffs_in_flight() -> None:
    policy = replace(UNBOUNDED, in_flight_max=6, in_flight_ratio_max=0.0)
    columns = fleet([1] * 104, [0] * 4 + [1] * 80 + [2] * 20, [1, 1, 1], draining=[0])
    plan = plan_rebalance(columns, policy)
    assert plan.reasons.tolist() == [MoveReason.EVACUATED] * 4 + [MoveReason.BALANCED] * 2


# ── What is refused ───────────────────────────────────────────────────────────────────────────────────────────────


def test_columns_that_contradict_each_other_are_refused() -> None:
    columns = fleet([1, 1], [0, 0], [1])
    for wrong in (
        {"tile_pod": np.array([0], np.int32)},
        {"tile_pod": np.array([0, 1], np.int32)},
        {"pod_capacity": np.array([0.0])},
        {"pod_accepts": np.array([True, True])},
        {"tiles_in_flight": -1},
    ):
        with pytest.raises(ValueError, match=r"tile|pod"):
            replace(columns, **wrong)


def test_a_policy_whose_target_lies_above_its_trigger_is_refused() -> None:
    with pytest.raises(ValueError, match="target <= trigger"):
        BalancePolicy(trigger=1.05, target=1.10)
    with pytest.raises(ValueError, match="negative"):
        BalancePolicy(moves_max=-1)
