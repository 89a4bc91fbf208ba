"""Fleets of every kind for the planner, drawn at random."""

from itertools import pairwise

import numpy as np
from hypothesis import strategies as st

from subgraph.domain.planning.columns import NO_LIMIT, UNOWNED, PlanningInput
from tests.support.planning_graphs import graph

LOADS = st.one_of(st.integers(0, 20).map(float), st.floats(0, 1e3, allow_subnormal=False), st.just(float("nan")))
ROW_TILES = 6


def side_by_side(tiles: int) -> list[tuple[int, int]]:
    """Return the neighbours of tiles in rows of six."""
    beside = [(tile, tile + 1) for tile in range(tiles - 1) if (tile + 1) % ROW_TILES]
    return beside + [(tile, tile + ROW_TILES) for tile in range(tiles - ROW_TILES)]


@st.composite
def fleets(draw: st.DrawFn, *, healthy: bool = False) -> PlanningInput:
    """Draw a fleet; a healthy one has no unowned tile and no draining pod, so that only balancing moves anything."""
    pods, tiles = draw(st.integers(1 if healthy else 0, 6)), draw(st.integers(0, 40))
    owner = st.integers(0 if healthy else UNOWNED, pods - 1)
    status = st.sampled_from(("ready", "ready", "ready", "cordoned", *(() if healthy else ("draining",))))
    statuses = draw(st.lists(status, min_size=pods, max_size=pods))
    owners = draw(st.lists(owner, min_size=tiles, max_size=tiles))
    beside = draw(st.sampled_from((None, graph(tiles, pairwise(range(tiles))), graph(tiles, side_by_side(tiles)))))
    return PlanningInput(
        tile_load=np.array(draw(st.lists(LOADS, min_size=tiles, max_size=tiles)), np.float64),
        tile_pod=np.array(owners, np.int32),
        tile_movable=np.array(
            draw(st.lists(st.sampled_from((True, True, True, False)), min_size=tiles, max_size=tiles)), np.bool_
        ),
        pod_capacity=np.array(
            draw(st.lists(st.sampled_from((0.5, 1.0, 1.0, 2.0, 4.0)), min_size=pods, max_size=pods)), np.float64
        ),
        pod_accepts=np.array([status == "ready" for status in statuses], np.bool_),
        pod_evacuates=np.array([status == "draining" for status in statuses], np.bool_),
        pod_tiles_max=np.array(
            draw(st.lists(st.sampled_from((0, 3, 8, 20, NO_LIMIT, NO_LIMIT)), min_size=pods, max_size=pods)), np.int64
        ),
        tiles_in_flight=draw(st.integers(0, 12)),
        neighbor_offsets=beside.offsets if beside else None,
        neighbors=beside.tiles if beside else None,
    )
