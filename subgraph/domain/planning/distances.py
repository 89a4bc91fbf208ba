"""Owns distances in the graph of neighbours: connected components, and hops from chosen tiles to all others."""

import numpy as np

from subgraph.domain.planning.columns import Rows
from subgraph.domain.planning.neighbors import Neighbors


def components(graph: Neighbors) -> Rows:
    """Return the connected component of each tile: numbers from 0 on, in the order of each one's first tile."""
    label = np.arange(graph.offsets.size - 1, dtype=np.int32)
    linked = np.flatnonzero(np.diff(graph.offsets)).astype(np.int32)
    starts = graph.offsets[linked]
    while linked.size:
        least = np.minimum.reduceat(label[graph.tiles], starts)
        # A tile takes over the least label around it, the tile it was named after does, and so on: paths halve.
        lower = least < label[linked]
        if not lower.any():
            break
        np.minimum.at(label, label[linked[lower]], least[lower])
        while not np.array_equal(label, further := label[label]):
            label = further
    return np.unique(label, return_inverse=True)[1].astype(np.int32)


def steps_from(sources: Rows, graph: Neighbors) -> Rows:
    """Return how many steps each tile is from the nearest source; -1 where none is connected with it."""
    steps = np.full(graph.offsets.size - 1, -1, np.int32)
    steps[sources] = 0
    met_at = np.empty_like(steps)
    front, count = sources, 0
    while front.size:
        count += 1
        beyond = graph.around(front)[1]
        beyond = beyond[steps[beyond] < 0]
        steps[beyond] = count
        # Of those met more than once the last one stays: quicker than to sort them.
        every = np.arange(beyond.size, dtype=np.int32)
        met_at[beyond] = every
        front = beyond[met_at[beyond] == every]
    return steps
