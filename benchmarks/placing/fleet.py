"""Owns what a contender is shown, a fleet in one round, and how its answer is judged."""

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


@dataclass(frozen=True, slots=True)
class Score:
    """What one round of one contender came to."""

    peak: float  # the highest utilization over the fair one
    churn: float  # load that changed pods, over all load; what had no owner is not counted
    bound: float  # the least churn that brings every pod to the target, from this contender's own assignment
    bound_of_tiles: float  # the same, by tiles that cannot be divided; equal to `bound` where loads are no integers
    moved_tiles: int
    cpu_ms: float


def judge(fleet: Fleet, after: Rows, target: float, cpu_ms: float) -> Score:
    """Score an answer.

    Raises:
        RuntimeError: it breaks a hard constraint.
    """
    if np.any(after[fleet.fixed] != fleet.owner[fleet.fixed]) or np.any(after < 0) or not fleet.live[after].all():
        raise RuntimeError("an answer moves a pinned tile, or leaves one without a live pod")
    total = float(fleet.load.sum())
    moved = (fleet.owner != UNOWNED) & (after != fleet.owner)
    excess = np.maximum(fleet.pod_load(fleet.owner) - target * fleet.fair_share, 0.0)
    excess[excess <= 1e-9 * fleet.fair_share] = 0.0
    utilization = (fleet.pod_load(after) / fleet.capacity)[fleet.live]
    return Score(
        peak=float(utilization.max()) / fleet.level,
        churn=float(fleet.load[moved].sum()) / total,
        bound=float(excess.sum()) / total,
        bound_of_tiles=_bound_of_tiles(fleet, excess) / total,
        moved_tiles=int(moved.sum()),
        cpu_ms=cpu_ms,
    )


def _bound_of_tiles(fleet: Fleet, excess: Loads) -> float:
    """Return the sum, over the hot pods, of the lightest set of its tiles that covers the excess."""
    if not np.array_equal(fleet.load, np.floor(fleet.load)):
        return float(excess.sum())
    bound = 0.0
    for pod in np.flatnonzero(excess).tolist():
        sums = 1  # bit s is set if some set of tiles weighs s
        for load in fleet.load[fleet.owner == pod].astype(np.int64).tolist():
            sums |= sums << load
        least = int(np.ceil(excess[pod] - 1e-9))
        reachable = sums >> least
        bound += least + (reachable & -reachable).bit_length() - 1
    return bound
