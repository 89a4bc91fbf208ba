"""Neighbouring tiles on one pod: how the cut is counted, and that balancing keeps it low."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.planning.columns import UNOWNED, PlanningInput
from subgraph.domain.planning.plan import plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from tests.support.planning_fleets import carried_out, fleet
from tests.support.planning_graphs import counted_cut, graph, hexagons

ROW = graph(4, [(0, 1), (1, 2), (2, 3)])
WIDTH, PODS_ACROSS = 40, 4
TARGET = BalancePolicy().target


@pytest.mark.parametrize(
    ("owners", "cut"),
    [([0, 0, 0, 0], 0), ([0, 0, 1, 1], 1), ([0, 1, 0, 1], 3), ([0, UNOWNED, 1, 1], 0)],
)
def test_a_pair_on_two_pods_is_cut_once(owners: list[int], cut: int) -> None:
    assert ROW.cut_edges(np.array(owners, np.int32)) == cut


PAIRS = st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1]))
OWNERS = st.lists(st.integers(UNOWNED, 2), min_size=10, max_size=10)


@given(PAIRS, OWNERS, OWNERS)
def test_the_cut_and_its_change_are_those_counted_pair_by_pair(
    pairs: set[tuple[int, int]], before: list[int], after: list[int]
) -> None:
    beside, was, now = graph(10, pairs), np.array(before, np.int32), np.array(after, np.int32)
    assert beside.cut_edges(was) == counted_cut(beside, was)
    assert beside.cut_change(was, now) == counted_cut(beside, now) - counted_cut(beside, was)


def test_a_plan_tells_the_cut_before_and_after() -> None:
    beside = graph(4, [(0, 1), (1, 2), (2, 3)])
    columns = replace(
        fleet([4, 1, 1, 1], [0, 0, 0, 1], [1, 1]), neighbor_offsets=beside.offsets, neighbors=beside.tiles
    )
    plan = plan_rebalance(columns, BalancePolicy(load_moved_ratio_max=1.0))
    assert plan.before.cut_edges == 1
    assert plan.after.cut_edges == counted_cut(beside, carried_out(columns, plan).tile_pod)


def squares() -> PlanningInput:
    """Sixteen pods, each with a square of 10 × 10 tiles."""
    beside, tiles = hexagons(WIDTH, WIDTH), np.arange(WIDTH * WIDTH)
    size = WIDTH // PODS_ACROSS
    owners = tiles // WIDTH // size * PODS_ACROSS + tiles % WIDTH // size
    columns = fleet([1.0] * tiles.size, owners.tolist(), [1.0] * PODS_ACROSS**2)
    return replace(columns, neighbor_offsets=beside.offsets, neighbors=beside.tiles)


def drifting_rounds(columns: PlanningInput, policy: BalancePolicy, rounds: int) -> tuple[PlanningInput, float]:
    """Return the fleet after so many rounds of drifting load, and the load moved over the least that had to be."""
    random, load = np.random.default_rng(3), np.random.default_rng(4).lognormal(0, 1, columns.tile_load.size)
    churn = bound = 0.0
    for _ in range(rounds):
        load = load**0.99 * random.lognormal(0, 0.12, load.size)
        columns = replace(columns, tile_load=load)
        plan = plan_rebalance(columns, policy)
        # The first rounds level what the squares begin with.
        assert plan.budget_bound or plan.after.imbalance <= policy.trigger * (1 + 1e-9)
        assert plan.skip or plan.budget_bound or plan.after.imbalance <= policy.target * (1 + 1e-9)
        churn, bound = churn + plan.churn, bound + plan.churn_lower_bound * (plan.tiles.size > 0)
        columns = carried_out(columns, plan)
    return columns, churn / bound


def test_neighbours_stay_together_while_loads_drift_and_it_costs_little_churn() -> None:
    columns = squares()
    beside = hexagons(WIDTH, WIDTH)
    at_first = beside.cut_edges(columns.tile_pod)
    kept, churn_over_bound = drifting_rounds(columns, BalancePolicy(), 150)
    blind, _ = drifting_rounds(columns, BalancePolicy(locality_ratio=0.0), 150)
    assert churn_over_bound <= 1.05
    assert beside.cut_edges(kept.tile_pod) <= 1.4 * at_first
    assert beside.cut_edges(blind.tile_pod) >= 2.5 * at_first


def test_equal_input_gives_an_equal_plan() -> None:
    columns = replace(squares(), tile_load=np.random.default_rng(5).lognormal(0, 1, WIDTH * WIDTH))
    one, other = (plan_rebalance(columns, BalancePolicy()) for _ in range(2))
    assert one.tiles.size
    assert np.array_equal(one.tiles, other.tiles)
    assert np.array_equal(one.targets, other.targets)
