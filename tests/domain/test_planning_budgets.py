"""What one pod may give and take in a round of balancing: hot pods are not drained, cold ones not overrun, at once."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.planning.columns import UNOWNED, PlanningInput
from subgraph.domain.planning.plan import Plan, SkipReason, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from tests.support.planning_fleets import POLICY, carried_out, fleet, pod_loads, settle

# Nothing but the limits of a pod binds.
IN_ALL = replace(POLICY, load_moved_ratio_max=1e9, floor=0.0)


def given_and_taken(columns: PlanningInput, plan: Plan) -> tuple[list[float], list[float]]:
    pods, owned = columns.pod_capacity.size, plan.sources != UNOWNED
    rows = plan.sources[owned], plan.targets[owned]
    given, taken = (np.bincount(row, weights=plan.loads[owned], minlength=pods).tolist() for row in rows)
    return given, taken


def crowd(pods: int, on_first: int, on_each: int) -> PlanningInput:
    """One pod with so many tiles of load 1, all others with so many."""
    owners = [0] * on_first + [pod for pod in range(1, pods) for _ in range(on_each)]
    return fleet([1] * len(owners), owners, [1] * pods)


def test_a_pod_gives_no_more_than_its_fair_share_in_a_round() -> None:
    columns = crowd(10, 550, 50)
    plan = plan_rebalance(columns, IN_ALL)
    assert given_and_taken(columns, plan)[0][0] == 100.0
    assert plan.budget_bound
    assert pod_loads(settle(columns, IN_ALL)[0])[0] == 105.0, "the rest is for the next rounds"


def test_a_pod_with_its_number_of_tiles_takes_half_its_fair_share_in_a_round() -> None:
    # Pods 2 and 3 have as many tiles as the others, light ones, and room for more than they may take.
    loads = [4.0] * 100 + [2.4] * 100 + [0.8] * 200
    columns = fleet(loads, [0] * 100 + [1] * 100 + [2] * 100 + [3] * 100, [1] * 4)
    plan = plan_rebalance(columns, IN_ALL)
    assert given_and_taken(columns, plan)[1][2:] == pytest.approx([100.0, 100.0], abs=4.0)
    assert plan.budget_bound


def test_a_pod_without_tiles_takes_a_quarter_of_its_fair_share_in_a_round() -> None:
    columns = fleet([1] * 360, [0] * 130 + [1] * 130 + [2] * 100, [1] * 4)
    assert given_and_taken(columns, plan_rebalance(columns, IN_ALL))[1][3] == 22.0, "a quarter of 90, in whole tiles"
    assert max(pod_loads(settle(columns, IN_ALL)[0])) == 94.0, "at 1.05 in the end, in whole tiles"


def test_the_tiles_that_a_pod_gives_and_takes_in_a_round_are_bounded() -> None:
    policy = replace(IN_ALL, pod_tiles_moved_max=7, pod_tiles_moved_ratio_max=0.0)
    columns = crowd(4, 160, 80)
    given, taken = given_and_taken(columns, plan_rebalance(columns, policy))
    assert given[0] == 7.0
    both_hot = fleet([1] * 400, [0] * 150 + [1] * 150 + [2] * 100, [1] * 3)
    given, taken = given_and_taken(both_hot, plan_rebalance(both_hot, policy))
    assert taken[2] == 7.0
    shared = replace(policy, pod_tiles_moved_ratio_max=0.10)
    assert given_and_taken(columns, plan_rebalance(columns, shared))[0][0] == 10.0, "a tenth of its fair number"


def test_a_pod_of_few_tiles_is_limited_by_their_number_and_not_by_a_share_of_its_load() -> None:
    columns = fleet([5] * 6 + [1] * 2, [0] * 6 + [1, 2], [1] * 3)
    plan = plan_rebalance(columns, IN_ALL)
    assert pod_loads(carried_out(columns, plan)) == [10.0, 11.0, 11.0]


def test_a_tile_heavier_than_all_that_a_pod_may_give_and_take_goes_alone() -> None:
    loads = [60.0, 60.0] + [0.02] * 3_000
    columns = fleet(loads, [0, 0] + [pod for pod in (1, 2) for _ in range(1_500)], [1] * 3)
    plan = plan_rebalance(columns, replace(IN_ALL, pod_given_ratio_max=0.5))
    assert plan.loads[plan.sources == 0].tolist() == [60.0], "half a fair share is 30"


def test_a_limit_of_nothing_moves_nothing_and_says_so() -> None:
    columns = crowd(4, 160, 80)
    empty = replace(IN_ALL, pod_filled_ratio_max=0.0)
    for nothing in (replace(empty, pod_given_ratio_max=0.0), replace(empty, pod_taken_ratio_max=0.0)):
        plan = plan_rebalance(columns, nothing)
        assert (plan.skip, plan.budget_bound) == (SkipReason.BUDGET_EXHAUSTED, True)
    still = replace(IN_ALL, pod_tiles_moved_max=0, pod_tiles_moved_ratio_max=0.0)
    assert plan_rebalance(columns, still).skip is SkipReason.BUDGET_EXHAUSTED


def test_the_limits_of_pods_hold_for_swaps_too() -> None:
    # Every slot is taken; only swaps of heavy tiles for light ones help, and each gives on both sides.
    loads = [8.0] * 40 + [1.0] * 200
    columns = fleet(loads, [0] * 40 + [pod for pod in range(1, 6) for _ in range(40)], [1] * 6, tiles_max=40)
    policy = replace(IN_ALL, pod_given_ratio_max=0.5, pod_taken_ratio_max=0.9)
    plan = plan_rebalance(columns, policy)
    assert 0 < given_and_taken(columns, plan)[0][0] <= 0.5 * sum(loads) / 6
    assert plan.budget_bound
    assert settle(columns, policy)[1].after.imbalance <= POLICY.trigger


def test_what_has_no_owner_is_placed_whatever_a_pod_may_take() -> None:
    nothing = replace(POLICY, pod_taken_ratio_max=0.0, pod_filled_ratio_max=0.0, pod_tiles_moved_max=0)
    plan = plan_rebalance(fleet([1] * 300, [UNOWNED] * 300, [1, 1]), nothing)
    assert np.bincount(plan.targets).tolist() == [150, 150]


@st.composite
def crowded_fleets(draw: st.DrawFn) -> PlanningInput:
    pods, tiles = draw(st.integers(2, 6)), draw(st.integers(2, 120))
    return fleet(
        draw(st.lists(st.integers(0, 9), min_size=tiles, max_size=tiles)),
        draw(st.lists(st.integers(0, pods // 2), min_size=tiles, max_size=tiles)),
        draw(st.lists(st.sampled_from((1.0, 2.0, 4.0)), min_size=pods, max_size=pods)),
        tiles_max=draw(st.sampled_from((30, 10**6))),
    )


@settings(deadline=None)
@given(crowded_fleets(), st.sampled_from((0.1, 0.5, 2.0)), st.sampled_from((0.1, 0.5, 2.0)), st.sampled_from((2, 9)))
def test_no_pod_gives_or_takes_more_than_it_may(
    columns: PlanningInput, give: float, take: float, tiles_max: int
) -> None:
    policy = BalancePolicy(
        pod_given_ratio_max=give,
        pod_taken_ratio_max=take,
        pod_filled_ratio_max=min(take, 0.25),
        pod_tiles_moved_max=tiles_max,
        pod_tiles_moved_ratio_max=0.0,
    )
    plan = plan_rebalance(columns, policy)
    total = float(columns.tile_load.sum())
    share, least = total * columns.pod_capacity / columns.pod_capacity.sum(), 8 * total / columns.tile_load.size
    given, taken = given_and_taken(columns, plan)
    for moved, ratio, rows in ((given, give, plan.sources), (taken, take, plan.targets)):
        counts = np.bincount(rows, minlength=share.size)
        assert np.all(counts <= tiles_max)
        assert np.all((moved <= np.maximum(ratio * share, least) * (1 + 1e-9)) | (counts <= 1))
