"""Owns what it costs that neighbouring tiles are on different pods: the edges cut between them."""

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Rows


def cut_edges(tile_pod: Rows, neighbor_offsets: Counts, neighbors: Rows) -> int:
    """Return how many pairs of neighbours are on two different pods; a pair with an unowned tile is not counted.

    Each pair stands in the rows of both its tiles, and counts once.
    """
    here = np.repeat(tile_pod, np.diff(neighbor_offsets))
    there = tile_pod[neighbors]
    return int(np.count_nonzero((here != there) & (here != UNOWNED) & (there != UNOWNED))) // 2
