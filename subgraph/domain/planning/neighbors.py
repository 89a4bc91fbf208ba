"""Owns the graph of neighbouring tiles: adjacency, and the number of edges cut between pods."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Flags, PlanningInput, Positions, Rows

# Tiles are looked at in blocks: what is derived from their edges then stays in the processor's cache.
BLOCK_TILES = 4_096


@dataclass(frozen=True, slots=True, eq=False)
class Neighbors:
    """The neighbours of tile t are `tiles[offsets[t] : offsets[t + 1]]`, each pair in both rows."""

    offsets: Counts
    tiles: Rows

    @classmethod
    def of(cls, columns: PlanningInput) -> "Neighbors | None":
        """Return the graph of this fleet, None where no two tiles are known to be neighbours."""
        if columns.neighbor_offsets is None or columns.neighbors is None or not columns.neighbors.size:
            return None
        return cls(columns.neighbor_offsets, columns.neighbors)

    def around(self, tiles: Rows) -> tuple[Positions, Rows]:
        """Return all neighbours of these tiles, one tile after the other, and whose they are, by its position."""
        starts = self.offsets[tiles]
        counts = self.offsets[tiles + 1] - starts
        positions = np.repeat(np.arange(tiles.size), counts)
        before = np.cumsum(counts) - counts
        return positions, self.tiles[np.arange(positions.size) + (starts - before)[positions]]

    def among(self, tiles: Rows) -> "Neighbors":
        """Return the graph of these tiles alone, which are numbered in their order."""
        number = np.full(self.offsets.size - 1, UNOWNED, np.int32)
        number[tiles] = np.arange(tiles.size, dtype=np.int32)
        counts, parts = [np.zeros(1, np.int64)], [np.empty(0, np.int32)]
        for start in range(0, tiles.size, BLOCK_TILES):
            block = tiles[start : start + BLOCK_TILES]
            positions, others = self.around(block)
            others = number[others]
            counts.append(np.bincount(positions[others >= 0], minlength=block.size))
            parts.append(others[others >= 0])
        return Neighbors(np.cumsum(np.concatenate(counts)), np.concatenate(parts))

    def cut_edges(self, tile_pod: Rows) -> int:
        """Return how many pairs of neighbours are on two different pods; one with an unowned tile is not counted."""
        every = np.arange(tile_pod.size, dtype=np.int32)
        return sum(int(np.count_nonzero(cut)) for _, cut in self._cuts(every, tile_pod)) // 2

    def cut_change(self, before: Rows, after: Rows) -> int:
        """Return by how much the second assignment cuts more edges than the first: as quick as they are alike."""
        changed = np.flatnonzero(before != after).astype(np.int32)
        is_changed = np.zeros(before.size, np.bool_)
        is_changed[changed] = True
        change = 0
        for tile_pod, sign in ((before, -1), (after, 1)):
            for others, cut in self._cuts(changed, tile_pod):
                # A pair of which both have changed is met twice.
                change += sign * int((2 - is_changed[others[cut]]).sum())
        return change // 2

    def _cuts(self, tiles: Rows, tile_pod: Rows) -> Iterator[tuple[Rows, Flags]]:
        """Yield the neighbours of these tiles, a block after the other, and which of them are on another pod."""
        for start in range(0, tiles.size, BLOCK_TILES):
            block = tiles[start : start + BLOCK_TILES]
            positions, others = self.around(block)
            here, there = tile_pod[block][positions], tile_pod[others]
            yield others, (here != there) & (here != UNOWNED) & (there != UNOWNED)
