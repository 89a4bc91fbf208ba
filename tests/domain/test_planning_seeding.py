"""Tiles without an owner where neighbours are known: whole regions to one pod, within all that holds for every tile."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.planning.columns import UNOWNED, PlanningInput, Rows
from subgraph.domain.planning.distances import components, steps_from
from subgraph.domain.planning.neighbors import Neighbors
from subgraph.domain.planning.plan import plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.regions import regions
from tests.support.planning_fleets import carried_out, fleet
from tests.support.planning_graphs import graph, hexagons, pieces

WIDTH = 40
POLICY = BalancePolicy()


def unowned(beside: Neighbors, loads: list[float], capacities: list[float]) -> PlanningInput:
    columns = fleet(loads, [UNOWNED] * len(loads), capacities)
    return replace(columns, neighbor_offsets=beside.offsets, neighbors=beside.tiles)


def utilization(columns: PlanningInput, tile_pod: Rows) -> npt.NDArray[np.float64]:
    loads = np.bincount(tile_pod, weights=columns.tile_load, minlength=columns.pod_capacity.size)
    level = columns.tile_load.sum() / columns.pod_capacity.sum()
    relative: npt.NDArray[np.float64] = loads / columns.pod_capacity / level
    return relative


@pytest.mark.parametrize("sigma", [0.0, 0.8])
def test_every_pod_gets_a_connected_region_of_its_size_and_few_edges_are_cut(sigma: float) -> None:
    beside, capacities = hexagons(WIDTH, WIDTH), [1.0, 2.0] * 8
    loads = np.random.default_rng(1).lognormal(0, sigma, WIDTH * WIDTH).tolist()
    columns = unowned(beside, loads, capacities)
    plan = plan_rebalance(columns, POLICY)
    owners = carried_out(columns, plan).tile_pod
    assert utilization(columns, owners).max() <= POLICY.target
    assert utilization(columns, owners).min() >= 0.9
    assert sum(pieces(beside, owners, pod) for pod in range(16)) <= 16 + 3
    # Sixteen squares would cut 3 × 2 × 40 sides of hexagons, and as many corners less a few.
    assert plan.after.cut_edges == beside.cut_edges(owners) <= 1.3 * 480


def test_tiles_of_a_lost_pod_go_to_pods_beside_them_that_have_room() -> None:
    beside = hexagons(12, 12)
    stripes = np.arange(144) % 12 // 3
    columns = unowned(beside, [1.0] * 144, [1.0, 1.0, 1.0, 1.0, 1.0])
    # Pod 1 is lost, and pods 0 and 2, beside it, have two tiles of every three; pod 4 has none.
    light = (stripes != 1) & (np.arange(144) % 3 == 0)
    owners = np.where(stripes == 1, UNOWNED, stripes).astype(np.int32)
    columns = replace(
        columns,
        tile_load=np.where(light, 0.0, 1.0),
        tile_pod=owners,
        pod_accepts=np.array([True, False, True, True, True]),
    )
    plan = plan_rebalance(columns, POLICY)
    after = carried_out(columns, plan).tile_pod
    taken = after[stripes == 1]
    assert UNOWNED not in taken
    assert np.isin([0, 2], taken).all()
    lonely = [tile for tile in np.flatnonzero(stripes == 1) if counted_beside(beside, after, int(tile)) == 0]
    assert len(lonely) <= 2


def counted_beside(beside: Neighbors, tile_pod: Rows, tile: int) -> int:
    around = beside.tiles[beside.offsets[tile] : beside.offsets[tile + 1]]
    return int(np.count_nonzero(tile_pod[around] == tile_pod[tile]))


def test_what_joins_a_fleet_goes_to_few_pods_in_few_pieces() -> None:
    beside = graph(140, [*((tile, tile + 1) for tile in range(99)), *((tile, tile + 1) for tile in range(100, 139))])
    columns = unowned(beside, [1.0] * 140, [1.0] * 10)
    # Ten pods with ten tiles each; a new row of forty tiles fits on them, four each, within one another's shares.
    columns = replace(columns, tile_pod=np.where(np.arange(140) < 100, np.arange(140) // 10, UNOWNED).astype(np.int32))
    plan = plan_rebalance(columns, POLICY)
    after = carried_out(columns, plan).tile_pod
    assert plan.after.imbalance <= POLICY.target
    assert beside.cut_edges(after) - beside.cut_edges(columns.tile_pod) <= 10


def test_labels_pins_slots_and_cordons_hold_where_regions_are_placed() -> None:
    beside = hexagons(20, 20)
    tiles = np.arange(400)
    columns = replace(
        unowned(beside, [1.0] * 400, [1.0] * 6),
        tile_group=(tiles % 20 >= 10).astype(np.int32),
        group_allows=np.array([[True, True, True, False, False, True], [False, False, False, True, True, True]]),
        tile_pin=np.where(tiles % 37 == 0, tiles % 2, UNOWNED).astype(np.int32),
        pod_accepts=np.array([True, True, True, True, True, False]),
        pod_tiles_max=np.array([60, 400, 400, 70, 400, 400], np.int64),
    )
    plan = plan_rebalance(columns, POLICY)
    after = carried_out(columns, plan).tile_pod
    assert columns.tile_group is not None
    assert columns.group_allows is not None
    assert columns.tile_pin is not None
    placed = after != UNOWNED
    assert columns.group_allows[columns.tile_group[placed], after[placed]].all()
    assert columns.pod_accepts[after[placed]].all()
    assert np.all(np.bincount(after[placed], minlength=6) <= columns.pod_tiles_max)
    pinned = placed & (columns.tile_pin != UNOWNED)
    assert np.array_equal(after[pinned], columns.tile_pin[pinned])
    possible = columns.group_allows[columns.tile_group, columns.tile_pin] | (columns.tile_pin == UNOWNED)
    assert np.array_equal(placed, possible)


def test_idle_tiles_are_spread_by_number() -> None:
    columns = unowned(hexagons(WIDTH, WIDTH), [0.0] * WIDTH * WIDTH, [1.0] * 16)
    after = carried_out(columns, plan_rebalance(columns, POLICY)).tile_pod
    assert np.ptp(np.bincount(after, minlength=16)) <= 16


SIZES = st.lists(st.integers(1, 8), min_size=1, max_size=8)


@given(SIZES, st.lists(st.sampled_from((0.5, 1.0, 3.0)), min_size=1, max_size=6))
@settings(deadline=None)
def test_regions_cover_all_tiles_and_cut_no_more_components_than_cuts_are_made(
    rows: list[int], wants: list[float]
) -> None:
    """Rows of tiles, none beside another row's: of n regions n − 1 cuts are made, each through one row at most."""
    ends = np.cumsum(rows).tolist()
    tiles = ends[-1]
    beside = graph(tiles, [(tile, tile + 1) for tile in range(tiles - 1) if tile + 1 not in ends])
    found = regions(np.ones(tiles), np.array(wants), beside)
    assert found.size == tiles
    assert 0 <= found.min() <= found.max() < len(wants)
    assert beside.cut_edges(found) <= len(wants) - 1


@given(st.sets(st.tuples(st.integers(0, 11), st.integers(0, 11)).filter(lambda pair: pair[0] < pair[1])))
def test_components_and_steps_are_those_of_walking_the_graph(pairs: set[tuple[int, int]]) -> None:
    beside = graph(12, pairs)
    component = components(beside)
    for tile in range(12):
        steps = steps_from(np.array([tile], np.int32), beside)
        assert np.array_equal(steps >= 0, component == component[tile])
        for one, other in pairs:
            assert abs(int(steps[one]) - int(steps[other])) <= 1
        reached = steps[steps > 0]
        assert set(range(1, int(reached.max(initial=0)) + 1)) == set(reached.tolist())
