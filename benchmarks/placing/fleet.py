"""Owns what a contender is shown: a fleet in one round."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import h3.api.basic_int as h3
import numpy as np
import numpy.typing as npt

Loads: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int32]
Flags: TypeAlias = npt.NDArray[np.bool_]
Cells: TypeAlias = npt.NDArray[np.int64]

UNOWNED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Graph:
    """Which tiles are neighbours: those of tile t are `neighbours[starts[t]:starts[t + 1]]`."""

    starts: npt.NDArray[np.int64]
    neighbours: Rows

    @classmethod
    def of(cls, cells: Cells) -> "Graph":
        """Return the graph of cells of one resolution."""
        order = np.argsort(cells)
        ids = cells[order]
        around = [h3.grid_disk(cell, 1) for cell in cells.tolist()]
        sizes = np.array([len(ring) for ring in around])
        sources = np.repeat(np.arange(cells.size, dtype=np.int32), sizes)
        others = np.array([cell for ring in around for cell in ring], np.int64)
        places = np.searchsorted(ids, others).clip(0, ids.size - 1)
        known = (ids[places] == others) & (others != cells[sources])
        counts = np.bincount(sources[known], minlength=cells.size)
        return cls(np.concatenate(([0], np.cumsum(counts))), order[places[known]].astype(np.int32))

    @classmethod
    def of_grid(cls, tiles: int) -> "Graph":
        """Return the graph of hexagons in a square, row by row: as good as cells, and quick for a million of them."""
        width = math.isqrt(tiles - 1) + 1
        tile = np.arange(tiles)
        row, column = np.divmod(tile, width)
        steps = np.array([(0, 1), (0, -1), (1, 0), (-1, 0), (1, -1), (-1, 1)])
        rows, columns = row[:, np.newaxis] + steps[:, 0], column[:, np.newaxis] + steps[:, 1]
        others = rows * width + columns
        known = (rows >= 0) & (columns >= 0) & (columns < width) & (others < tiles)
        return cls(np.concatenate(([0], np.cumsum(known.sum(axis=1)))), others[known].astype(np.int32))

    def edges_cut(self, owner: Rows) -> int:
        """Return how many pairs of neighbours are on different pods."""
        sources = np.repeat(np.arange(self.starts.size - 1), np.diff(self.starts))
        return int(np.count_nonzero(owner[sources] != owner[self.neighbours])) // 2


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Tiles and pods in one round. A pod that is not live owns nothing and may get nothing."""

    cells: Cells
    load: Loads
    owner: Rows
    movable: Flags
    capacity: Loads
    live: Flags
    graph: Graph | None = None

    @property
    def level(self) -> float:
        """The fair utilization: all load over the capacity of the live pods."""
        return float(self.load.sum() / self.capacity[self.live].sum())

    @property
    def fair_share(self) -> Loads:
        """The load each live pod would have if all were equally utilized; 0 for the others."""
        return np.where(self.live, self.level * self.capacity, 0.0)

    @property
    def fixed(self) -> Flags:
        """The tiles that must stay: those with an owner that may not move."""
        fixed: Flags = ~self.movable & (self.owner != UNOWNED)
        return fixed

    def pod_load(self, owner: Rows) -> Loads:
        """Return the load of each pod under an assignment."""
        sums = np.bincount(owner + 1, weights=self.load, minlength=self.capacity.size + 1)[1:]
        return sums.astype(np.float64, copy=False)


Contender: TypeAlias = Callable[[Fleet], Rows]
"""Answers a pod for every tile."""
