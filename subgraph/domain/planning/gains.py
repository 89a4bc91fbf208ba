"""Owns the gain of each move, computed in the order of execution."""

import numpy as np

from subgraph.domain.planning.columns import Loads
from subgraph.domain.planning.standing import Moves, Standing


def gains(standing: Standing, moves: Moves) -> Loads:
    """Return by how much each move lowers the hotter of its two pods, one after the other in their order.

    The legs of a swap add up to its gain; one of them alone may be negative.
    """
    loads, sources = standing.tile_load[moves.tiles], standing.tile_pod[moves.tiles]
    # Two events a move, in order: its source loses the load, its target gains it.
    pods = np.stack((sources, moves.targets), axis=1)
    change = np.stack((-loads, loads), axis=1)
    order = np.argsort(pods, axis=None, kind="stable")
    sums = np.cumsum(change.flat[order])
    starts = np.flatnonzero(np.diff(pods.flat[order], prepend=-1))
    sizes = np.diff(starts, append=sums.size)
    sums -= np.repeat(np.concatenate(([0.0], sums))[starts], sizes)
    running = np.empty(sums.size)
    running[order] = sums
    capacity, later = standing.pod_capacity[pods], standing.pod_load[pods] + running.reshape(pods.shape)
    gains: Loads = ((later - change) / capacity).max(axis=1) - (later / capacity).max(axis=1)
    return gains
