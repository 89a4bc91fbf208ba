"""Graphs of neighbouring tiles, and the plain way to count what they cut."""

from collections.abc import Iterable

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Rows
from subgraph.domain.planning.neighbors import Neighbors


def graph(tiles: int, pairs: Iterable[tuple[int, int]]) -> Neighbors:
    """Return the graph in which these are neighbours, each pair given once."""
    around: list[set[int]] = [set() for _ in range(tiles)]
    for one, other in pairs:
        around[one].add(other)
        around[other].add(one)
    offsets = np.cumsum([0, *map(len, around)], dtype=np.int64)
    return Neighbors(offsets, np.array([tile for tiles in around for tile in sorted(tiles)], np.int32))


def hexagons(width: int, height: int) -> Neighbors:
    """Return the graph of hexagons in rows: tile `row * width + column`, six neighbours each but for the margin."""
    places = [(row, column) for row in range(height) for column in range(width)]
    steps = ((0, 1), (1, 0), (1, -1))
    return graph(
        width * height,
        (
            (row * width + column, (row + down) * width + column + right)
            for row, column in places
            for down, right in steps
            if row + down < height and 0 <= column + right < width
        ),
    )


def counted_cut(graph: Neighbors, tile_pod: Rows) -> int:
    """Count the pairs on two pods one by one."""
    return sum(
        UNOWNED != tile_pod[tile] != tile_pod[other] != UNOWNED
        for tile in range(tile_pod.size)
        for other in graph.tiles[graph.offsets[tile] : graph.offsets[tile + 1]].tolist()
        if tile < other
    )


def pieces(graph: Neighbors, tile_pod: Rows, pod: int) -> int:
    """Count the connected pieces of a pod's tiles."""
    left, count = set(np.flatnonzero(tile_pod == pod).tolist()), 0
    while left:
        count, edge = count + 1, [left.pop()]
        while edge:
            tile = edge.pop()
            beside = left.intersection(graph.tiles[graph.offsets[tile] : graph.offsets[tile + 1]].tolist())
            left -= beside
            edge += beside
    return count
