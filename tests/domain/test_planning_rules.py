"""Labels, pins and capacity as hard constraints, and the account of what speaks against a tile on a pod."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.planning.columns import UNOWNED, PlanningInput
from subgraph.domain.planning.explain import explain
from subgraph.domain.planning.plan import MoveReason, SkipReason, UnplaceableReason, plan_rebalance
from subgraph.domain.planning.violations import Violation, violations_of
from tests.support.planning_fleets import POLICY, UNBOUNDED, carried_out, fleet, pod_loads, settle


def labelled(columns: PlanningInput, groups: list[int], allows: list[list[int]]) -> PlanningInput:
    return replace(columns, tile_group=np.array(groups, np.int32), group_allows=np.array(allows, np.bool_))


def pinned(columns: PlanningInput, pins: list[int]) -> PlanningInput:
    return replace(columns, tile_pin=np.array(pins, np.int32))


# ── Labels ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_tiles_are_placed_on_pods_their_group_allows_and_the_others_even_it_out() -> None:
    columns = labelled(fleet([1] * 40, [UNOWNED] * 40, [1, 1, 1, 1]), [0] * 20 + [1] * 20, [[1] * 4, [0, 0, 1, 1]])
    plan = plan_rebalance(columns, POLICY)
    assert pod_loads(carried_out(columns, plan)) == [10.0] * 4
    assert set(plan.targets[plan.tiles >= 20].tolist()) == {2, 3}


def test_a_tile_whose_labels_no_pod_has_is_reported_and_everything_else_is_placed() -> None:
    columns = labelled(fleet([1, 1, 1], [UNOWNED] * 3, [1, 1]), [0, 1, 0], [[1, 1], [0, 0]])
    plan = plan_rebalance(columns, POLICY)
    assert plan.tiles.tolist() == [0, 2]
    assert plan.unplaceable_tiles.tolist() == [1]
    assert plan.unplaceable_reasons.tolist() == [UnplaceableReason.LABELS]


def test_tiles_leave_a_pod_that_no_longer_fits_their_labels_within_a_budget() -> None:
    columns = labelled(fleet([1] * 40, [0] * 20 + [1] * 20, [1, 1, 1]), [1] * 10 + [0] * 30, [[1, 1, 1], [0, 1, 1]])
    plan = plan_rebalance(columns, POLICY)
    repaired = plan.tiles[plan.reasons == MoveReason.REPAIRED]
    assert (repaired.size, plan.budget_bound) == (4, True), "a tenth of the load"
    assert set(repaired.tolist()) <= set(range(10))
    settled, _ = settle(columns, POLICY)
    assert not np.any(settled.tile_pod[:10] == 0)


def test_an_even_fleet_is_repaired_all_the_same() -> None:
    columns = labelled(fleet([1, 1, 1], [0, 1, 2], [1, 1, 1]), [0, 0, 1], [[1, 1, 1], [1, 1, 0]])
    plan = plan_rebalance(columns, POLICY.without_balancing())
    assert plan.tiles.tolist() == [2]
    assert plan.reasons.tolist() == [MoveReason.REPAIRED]


def test_a_misplaced_tile_that_nobody_may_have_stays_where_it_is_and_is_reported() -> None:
    columns = labelled(fleet([1, 1], [0, 1], [1, 1]), [0, 1], [[1, 1], [0, 0]])
    plan = plan_rebalance(columns, POLICY)
    assert (plan.skip, plan.unplaceable_tiles.tolist()) == (SkipReason.NOTHING_FITS, [1])
    assert plan.after.unassigned_tiles == 0


def test_a_hot_pod_gives_to_pods_that_its_tiles_may_be_on() -> None:
    columns = labelled(fleet([1] * 300, [0] * 150 + [1] * 75 + [2] * 75, [1, 1, 1]), [1] * 300, [[1] * 3, [1, 1, 0]])
    columns = replace(columns, tile_group=np.array([1] * 225 + [0] * 75, np.int32))
    settled, plan = settle(columns, UNBOUNDED)
    assert pod_loads(settled)[2] == 75.0
    assert plan.after.imbalance < 150 / 100


def test_evacuation_follows_labels_and_says_which_tile_is_stranded() -> None:
    columns = fleet([1, 1, 1], [0, 0, 1], [1, 1, 1], draining=[0])
    plan = plan_rebalance(labelled(columns, [1, 2, 0], [[1] * 3, [1, 0, 1], [1, 0, 0]]), UNBOUNDED)
    assert (plan.tiles.tolist(), plan.targets.tolist()) == ([0], [2])
    assert plan.unplaceable_reasons.tolist() == [UnplaceableReason.LABELS]


def test_a_slot_is_not_given_away_before_its_tile_may_leave() -> None:
    # Tile 1 should leave for pod 2, and tile 0 take its place; the budget is enough for the heavier one alone.
    columns = labelled(fleet([1, 0], [0, 1], [1, 1, 1], tiles_max=1), [1, 0], [[0, 0, 1], [0, 1, 0]])
    plan = plan_rebalance(columns, POLICY)
    assert np.bincount(carried_out(columns, plan).tile_pod, minlength=3).max() == 1


# ── Pins ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_pinned_tile_goes_to_its_pin_however_hot_that_gets_and_stays() -> None:
    columns = pinned(fleet([50, 1, 1, 1], [UNOWNED, 0, 1, 0], [1, 1]), [0, 0, 0, UNOWNED])
    settled, _ = settle(columns, UNBOUNDED)
    assert settled.tile_pod[:3].tolist() == [0, 0, 0]
    assert settled.tile_pod[3] == 1, "the others make way"


def test_a_pinned_tile_waits_for_its_pin() -> None:
    columns = pinned(fleet([1, 1], [UNOWNED, 1], [1, 1], cordoned=[0]), [0, UNOWNED])
    plan = plan_rebalance(columns, POLICY)
    assert plan.unplaceable_tiles.tolist() == [0]
    assert plan.unplaceable_reasons.tolist() == [UnplaceableReason.PINNED]
    assert plan_rebalance(replace(columns, pod_accepts=np.array([True, True])), POLICY).targets.tolist() == [0]


def test_of_tiles_pinned_to_a_pod_with_one_slot_the_heaviest_gets_it() -> None:
    columns = pinned(fleet([1, 3, 2], [UNOWNED] * 3, [1, 1], tiles_max=1), [0, 0, UNOWNED])
    plan = plan_rebalance(columns, POLICY)
    assert dict(zip(plan.tiles.tolist(), plan.targets.tolist(), strict=True)) == {1: 0, 2: 1}
    assert plan.unplaceable_reasons.tolist() == [UnplaceableReason.PINNED]


def test_a_pin_does_not_use_up_the_budget_of_an_evacuation() -> None:
    columns = pinned(fleet([9, 1, 1], [0, 0, 0], [1, 1], draining=[0]), [0, UNOWNED, UNOWNED])
    plan = plan_rebalance(columns, replace(POLICY, evacuation_moves_max=2, evacuation_load_ratio_max=0.2))
    assert plan.tiles.tolist() == [1, 2]
    assert plan.unplaceable_tiles.tolist() == [0]


# ── Capacity ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_capacity_forbids_placing_only_where_it_is_a_hard_limit() -> None:
    columns = fleet([6, 5, 4, 3, 2], [UNOWNED] * 5, [8, 8])
    assert not plan_rebalance(columns, POLICY).unplaceable_tiles.size
    plan = plan_rebalance(columns, replace(POLICY, capacity_hard=True))
    assert max(pod_loads(carried_out(columns, plan))) <= 8
    assert plan.unplaceable_reasons.tolist() == [UnplaceableReason.OVER_CAPACITY]
    assert plan.loads.sum() == 16.0


def test_a_pin_counts_against_hard_capacity_too() -> None:
    columns = pinned(fleet([6, 5], [UNOWNED, UNOWNED], [8, 8]), [0, 0])
    plan = plan_rebalance(columns, replace(POLICY, capacity_hard=True))
    assert (plan.tiles.tolist(), plan.unplaceable_tiles.tolist()) == ([0], [1])


# ── Why not, and what if ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_pod_says_all_that_speaks_against_a_tile() -> None:
    columns = fleet([3, 1, 1, 1], [UNOWNED, 1, 2, 3], [4, 4, 2, 4], cordoned=[0], draining=[1])
    columns = replace(columns, pod_tiles_max=np.array([9, 9, 9, 1]))
    columns = labelled(columns, [1, 0, 0, 0], [[1] * 4, [1, 1, 0, 1]])
    assert violations_of(columns, 0) == [
        (Violation.NOT_ACCEPTING,),
        (Violation.EVACUATING, Violation.NOT_ACCEPTING),
        (Violation.LABELS, Violation.OVER_CAPACITY),
        (Violation.FULL_TILES,),
    ]
    assert violations_of(pinned(columns, [UNOWNED, 1, 2, 1]), 3)[3] == (Violation.PINNED_ELSEWHERE,)


def test_an_explanation_has_the_terms_of_every_pod() -> None:
    columns = replace(
        fleet([4, 2, 1, 1], [0, 0, 1, 2], [8, 8, 4]),
        neighbor_offsets=np.array([0, 3, 4, 5, 6]),
        neighbors=np.array([1, 2, 3, 0, 0, 0], np.int32),
    )
    terms = explain(columns, POLICY, 0)
    assert (terms.pod, terms.load) == (0, 4.0)
    assert terms.utilization_after.tolist() == [0.75, 0.625, 1.25]
    assert terms.gain.tolist() == [0.0, 0.125, -0.5]
    assert terms.churn.tolist() == [0.0, 4.0, 4.0]
    assert terms.neighbors_kept.tolist() == [1, 1, 1]
    assert terms.possible.tolist() == [True, True, True]
    assert terms.violations[2] == (Violation.OVER_CAPACITY,)
    assert explain(columns, replace(POLICY, capacity_hard=True), 0).possible.tolist() == [True, True, False]


@pytest.mark.parametrize(
    "wrong",
    [
        {"tile_group": np.array([0, 0], np.int32)},
        {"tile_group": np.array([0, 2], np.int32), "group_allows": np.ones((2, 1), np.bool_)},
        {"tile_group": np.array([0, 1], np.int32), "group_allows": np.ones((2, 3), np.bool_)},
        {"tile_pin": np.array([0, 1], np.int32)},
        {"tile_pin": np.array([0], np.int32)},
        {"neighbors": np.array([0], np.int32)},
        {"neighbors": np.array([0], np.int32), "neighbor_offsets": np.array([0, 1])},
    ],
)
def test_rules_that_contradict_the_fleet_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"tile|pod|neighbor"):
        replace(fleet([1, 1], [0, 0], [1]), **wrong)


# ── Whatever the rules ────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def ruled_fleets(draw: st.DrawFn) -> PlanningInput:
    pods, tiles = draw(st.integers(1, 5)), draw(st.integers(1, 25))

    def column(values: st.SearchStrategy[int]) -> list[int]:
        return draw(st.lists(values, min_size=tiles, max_size=tiles))

    columns = fleet(
        column(st.integers(0, 20)),
        column(st.integers(UNOWNED, pods - 1)),
        draw(st.lists(st.sampled_from((10.0, 20.0, 40.0)), min_size=pods, max_size=pods)),
        pinned=draw(st.lists(st.integers(0, tiles - 1), max_size=3)),
        cordoned=draw(st.lists(st.integers(0, pods - 1), max_size=1)),
        draining=draw(st.lists(st.integers(0, pods - 1), max_size=1)),
        tiles_max=draw(st.sampled_from((3, 9, 99))),
    )
    allows = draw(st.lists(st.lists(st.booleans(), min_size=pods, max_size=pods), min_size=3, max_size=3))
    pins = column(st.one_of(st.just(UNOWNED), st.just(UNOWNED), st.integers(UNOWNED, pods - 1)))
    return pinned(labelled(columns, column(st.integers(0, 2)), [[int(one) for one in row] for row in allows]), pins)


@given(ruled_fleets(), st.booleans())
def test_no_move_breaks_a_rule_and_what_cannot_go_anywhere_is_reported(columns: PlanningInput, hard: bool) -> None:
    plan = plan_rebalance(columns, replace(UNBOUNDED, capacity_hard=hard))
    assert columns.group_allows is not None
    assert columns.tile_group is not None
    assert columns.tile_pin is not None
    pins = columns.tile_pin[plan.tiles]
    assert np.all(columns.group_allows[columns.tile_group[plan.tiles], plan.targets])
    assert np.all((pins == UNOWNED) | (pins == plan.targets))
    assert np.all(columns.pod_accepts[plan.targets])
    assert np.unique(plan.tiles).size == plan.tiles.size
    assert np.intersect1d(plan.tiles, plan.unplaceable_tiles).size == 0
    after = carried_out(columns, plan)
    counts = [np.bincount(one.tile_pod + 1, minlength=columns.pod_capacity.size + 1)[1:] for one in (columns, after)]
    assert np.all(counts[1] <= np.maximum(counts[0], columns.pod_tiles_max))
    unowned = np.flatnonzero(columns.tile_pod == UNOWNED)
    assert np.all(np.isin(unowned, plan.tiles) | np.isin(unowned, plan.unplaceable_tiles))
    if hard and not np.isin(plan.reasons, [MoveReason.BALANCED, MoveReason.FILLED]).any():
        grown = np.array(pod_loads(after)) > np.array(pod_loads(columns)) + 1e-9
        assert np.all(np.array(pod_loads(after))[grown] <= columns.pod_capacity[grown] * (1 + 1e-6))


@given(ruled_fleets())
def test_a_fleet_with_rules_comes_to_rest(columns: PlanningInput) -> None:
    settled, last = settle(columns, POLICY, rounds_max=200)
    assert plan_rebalance(settled, POLICY).tiles.size == last.tiles.size == 0
