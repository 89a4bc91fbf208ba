"""How pods that hold too little are filled, new ones above all; and what is said where only waiting helps."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.planning.columns import UNOWNED, PlanningInput
from subgraph.domain.planning.plan import MoveReason, SkipReason, plan_rebalance
from tests.support.planning_fleets import POLICY, carried_out, fleet, pod_loads, settle


def even_fleet_and_one_new_pod(pods: int, tiles: int) -> PlanningInput:
    """So many tiles of load 1 on each pod, and none on the last one."""
    return fleet([1] * (pods * tiles), [pod for pod in range(pods) for _ in range(tiles)], [1] * (pods + 1))


# ── Filling ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_new_pod_in_a_fleet_where_nobody_is_hot_is_filled_over_a_few_rounds() -> None:
    columns = even_fleet_and_one_new_pod(40, 164)  # 40 × 164 = 41 × 160: nobody is above 1.05
    filled = []
    for _ in range(10):
        plan = plan_rebalance(columns, POLICY)
        columns = carried_out(columns, plan)
        filled.append(pod_loads(columns)[-1] / 160)
    assert filled[:4] == [0.25, 0.5, 0.75, 0.95]
    assert (filled[-1], plan.skip) == (0.95, SkipReason.BALANCED)
    assert min(pod_loads(columns)[:-1]) >= 160, "nobody gives what it needs for its own share"


def test_what_fills_a_pod_is_accounted_for_apart_from_what_relieves_one() -> None:
    plan = plan_rebalance(even_fleet_and_one_new_pod(40, 164), POLICY)
    assert set(plan.reasons.tolist()) == {MoveReason.FILLED}
    assert (plan.churn, plan.fill_churn, plan.churn_lower_bound) == (0.0, 40.0, 0.0)
    assert plan.budget_bound
    assert np.all(plan.gains > 0)


def test_the_most_utilized_pods_give_first_down_to_one_level() -> None:
    columns = fleet([1] * 400, [0] * 104 + [1] * 102 + [2] * 100 + [3] * 94, [1, 1, 1, 1, 0.001])
    columns = replace(columns, pod_capacity=np.array([1, 1, 1, 1, 0.06]))  # the last is filled with five tiles
    plan = plan_rebalance(columns, POLICY)
    assert np.bincount(plan.sources, minlength=5).tolist() == [4, 1, 0, 0, 0]
    assert set(plan.targets.tolist()) == {4}


def test_a_pod_between_the_floor_and_its_share_is_left_alone_unless_somebody_asks() -> None:
    columns = fleet([1] * 2_000, [pod for pod in range(20) for _ in range(101)][:1_919] + [19] * 81, [1] * 20)
    assert plan_rebalance(columns, POLICY).skip is SkipReason.BALANCED
    asked = plan_rebalance(columns, POLICY.without_hysteresis())
    assert asked.fill_churn == 14.0
    assert plan_rebalance(columns, replace(POLICY, floor=0.82)).fill_churn == 14.0


def test_what_hot_pods_give_goes_to_a_pod_below_the_floor_first() -> None:
    # Pod 0 has 35 to give; pod 1 has most room, and pod 2 is a third below its share.
    columns = fleet([1] * 500, [0] * 130 + [1] * 340 + [2] * 30, [1, 4, 0.5])
    plan = plan_rebalance(columns, POLICY)
    assert (plan.churn, plan.fill_churn) == (35.0, 0.0)
    assert pod_loads(carried_out(columns, plan))[2] >= 43.0, "what is 0.95 of its share, in whole tiles"


def test_a_pod_gives_a_tile_that_is_part_of_its_share_where_all_tiles_are_large_but_stays_the_warmer_one() -> None:
    columns = even_fleet_and_one_new_pod(30, 10)  # a share is 9.7 tiles, so nobody can spare one
    settled, last = settle(columns, POLICY)
    assert pod_loads(settled)[-1] >= 0.8 * 300 / 31
    assert min(pod_loads(settled)[:-1]) == 9.0
    assert last.skip is SkipReason.BALANCED


def test_filling_stops_where_a_pod_may_take_nothing_and_says_why() -> None:
    columns = even_fleet_and_one_new_pod(40, 164)
    full = replace(columns, pod_tiles_max=np.array([10**6] * 40 + [0]))
    assert plan_rebalance(full, POLICY).skip is SkipReason.BALANCED, "it is as full as it may be"
    cordoned = replace(columns, pod_accepts=np.arange(41) < 40)
    assert plan_rebalance(cordoned, POLICY).skip is SkipReason.BALANCED
    labels = replace(
        columns, tile_group=np.zeros(columns.tile_load.size, np.int32), group_allows=np.array([[True] * 40 + [False]])
    )
    assert plan_rebalance(labels, POLICY).skip is SkipReason.NOTHING_FITS
    assert plan_rebalance(columns, replace(POLICY, floor=0.0)).skip is SkipReason.BALANCED


def test_filling_shares_the_budgets_of_balancing() -> None:
    columns = even_fleet_and_one_new_pod(40, 164)
    assert plan_rebalance(columns, replace(POLICY, moves_max=7, moves_ratio_max=0.0)).tiles.size == 7
    few = replace(POLICY, in_flight_max=5, in_flight_ratio_max=0.0)
    assert plan_rebalance(columns, few).tiles.size == 5
    assert plan_rebalance(replace(columns, tiles_in_flight=5), few).skip is SkipReason.BUDGET_EXHAUSTED
    assert plan_rebalance(columns, replace(POLICY, paused=True)).skip is SkipReason.PAUSED


def test_empty_pods_are_not_cold_while_nothing_has_an_owner() -> None:
    columns = replace(fleet([1, 1], [UNOWNED, UNOWNED], [1, 1]), tile_waits=np.array([True, True]))
    assert plan_rebalance(columns, POLICY).skip is SkipReason.BALANCED


@st.composite
def fleets_with_a_cold_pod(draw: st.DrawFn) -> PlanningInput:
    pods, tiles = draw(st.integers(3, 30)), draw(st.integers(2, 12))
    count = pods * tiles
    loads = draw(st.lists(st.integers(0, draw(st.sampled_from((2, 9)))), min_size=count, max_size=count))
    return fleet(loads, [tile % pods for tile in range(count)], [1.0] * pods + [draw(st.sampled_from((0.5, 1.0, 4.0)))])


@settings(deadline=None)
@given(fleets_with_a_cold_pod())
def test_no_pod_gives_to_fill_another_until_it_is_colder_than_that_or_below_the_floor(columns: PlanningInput) -> None:
    plan = plan_rebalance(columns, POLICY)
    filled = plan.reasons == MoveReason.FILLED
    share = float(columns.tile_load.sum()) / columns.pod_capacity.sum()
    heat = np.array(pod_loads(carried_out(columns, plan))) / columns.pod_capacity
    for source, target in zip(plan.sources[filled].tolist(), plan.targets[filled].tolist(), strict=True):
        assert heat[source] >= min(heat[target], share) * (1 - 1e-9)
        assert heat[source] >= POLICY.floor * share * (1 - 1e-9)
    settled, last = settle(columns, POLICY, rounds_max=100)
    assert plan_rebalance(settled, POLICY).tiles.size == last.tiles.size == 0


# ── Waiting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def held(columns: PlanningInput, *, cools: list[int] = [], in_handoff: list[int] = []) -> PlanningInput:  # noqa: B006
    rows = np.arange(columns.tile_load.size)
    cooling, handing = np.isin(rows, cools), np.isin(rows, in_handoff)
    return replace(columns, tile_movable=~(cooling | handing), tile_cools=cooling, tile_in_handoff=handing)


def test_where_only_tiles_that_cool_down_would_help_the_plan_says_so() -> None:
    columns = fleet([30, 1, 1, 1], [0, 0, 1, 2], [1, 1, 1])
    assert plan_rebalance(held(columns, cools=[0, 1], in_handoff=[2]), POLICY).skip is SkipReason.COOLING_DOWN
    lone = fleet([30, 1, 1], [0, 1, 2], [1, 1, 1])
    assert plan_rebalance(held(lone, cools=[0]), POLICY).skip is SkipReason.NOTHING_FITS, "it would not help"


def test_where_only_tiles_that_are_handed_over_would_help_the_plan_says_so() -> None:
    columns = fleet([30, 1, 1, 1], [0, 0, 1, 2], [1, 1, 1])
    assert plan_rebalance(held(columns, in_handoff=[0, 1]), POLICY).skip is SkipReason.HANDOFFS_IN_FLIGHT
    assert plan_rebalance(held(columns, cools=[2], in_handoff=[0, 1]), POLICY).skip is SkipReason.HANDOFFS_IN_FLIGHT


def test_a_cold_pod_waits_for_tiles_that_cool_down_too() -> None:
    columns = even_fleet_and_one_new_pod(40, 164)
    assert plan_rebalance(held(columns, cools=list(range(40 * 164))), POLICY).skip is SkipReason.COOLING_DOWN


@pytest.mark.parametrize("pinned", [[0], [0, 1]])
def test_nobody_waits_for_a_tile_that_is_pinned(pinned: list[int]) -> None:
    columns = held(fleet([30, 1, 1, 1], [0, 0, 1, 2], [1, 1, 1]), cools=[1])
    pins = np.where(np.isin(np.arange(4), pinned), 0, UNOWNED).astype(np.int32)
    reason = plan_rebalance(replace(columns, tile_pin=pins), POLICY).skip
    assert reason is (SkipReason.NOTHING_FITS if 1 in pinned else SkipReason.COOLING_DOWN)
