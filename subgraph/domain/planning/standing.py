"""Owns the state of the fleet between two phases of a plan, with values derived from it once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from subgraph.domain.planning.columns import (
    UNOWNED,
    Counts,
    Flags,
    Loads,
    PlanningInput,
    Rows,
    known_loads,
)
from subgraph.domain.planning.neighbors import Neighbors
from subgraph.domain.planning.rules import Rules

# Rounding must not make a pod hot that was brought to exactly the target.
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Moves:
    """Tiles and, row by row, the pods they go to: what a phase decides. The order is the order of importance."""

    tiles: Rows
    targets: Rows

    @classmethod
    def none(cls) -> "Moves":
        """Return no moves at all."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32))

    @classmethod
    def joined(cls, parts: "Sequence[Moves]") -> "Moves":
        """Return these moves, one after the other."""
        return cls(np.concatenate([part.tiles for part in parts]), np.concatenate([part.targets for part in parts]))


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """The fleet after the phases so far. A tile that was moved is not movable again: one plan gives it one target."""

    tile_load: Loads
    tile_pod: Rows
    tile_movable: Flags
    tile_waits: Flags  # unowned, and not to be given to anyone
    pod_capacity: Loads
    pod_receives: Flags
    pod_evacuates: Flags
    pod_load: Loads
    pod_slots: Counts  # how many more tiles a pod may get; below 0 where it has too many already
    pod_tiles: Counts
    level: float  # the fair utilization: the one at which every pod would hold its fair share
    rules: Rules | None = None  # None: any tile may be on any pod
    neighbors: Neighbors | None = None  # None: not known, and where a tile's neighbours are does not matter
    capacity_hard: bool = False  # whether placing may not take a pod beyond its capacity

    @classmethod
    def of(cls, columns: PlanningInput, *, capacity_hard: bool = False) -> "Standing":
        """Return the fleet as it comes in."""
        load, pods = known_loads(columns.tile_load), columns.pod_capacity.size
        bins = columns.tile_pod + 1  # bin 0 collects the unowned
        # An empty bincount counts in integers, weights or not.
        pod_load = np.bincount(bins, weights=load, minlength=pods + 1)[1:].astype(np.float64, copy=False)
        pod_tiles = np.bincount(bins, minlength=pods + 1)[1:].astype(np.int64)
        receives = columns.pod_accepts & ~columns.pod_evacuates
        unowned = columns.tile_pod == UNOWNED
        return cls(
            tile_load=load,
            tile_pod=columns.tile_pod,
            tile_movable=columns.tile_movable & ~unowned,
            tile_waits=unowned & (False if columns.tile_waits is None else columns.tile_waits),
            pod_capacity=columns.pod_capacity,
            pod_receives=receives,
            pod_evacuates=columns.pod_evacuates,
            pod_load=pod_load,
            pod_slots=np.where(receives, columns.pod_tiles_max - pod_tiles, 0),
            pod_tiles=pod_tiles,
            level=_fair_utilization(pod_load, columns.pod_capacity, receives, columns.pod_evacuates, float(load.sum())),
            rules=Rules.of(columns),
            neighbors=Neighbors.of(columns),
            capacity_hard=capacity_hard,
        )

    def with_pinned_at_rest(self) -> "Standing":
        """Return the fleet in which no pinned tile is movable: the load is evened out with the others."""
        if self.rules is None:
            return self
        return replace(self, tile_movable=self.tile_movable & (self.rules.tile_pin == UNOWNED))

    @property
    def utilization(self) -> Loads:
        """Load over capacity, pod by pod."""
        return self.pod_load / self.pod_capacity

    @property
    def fair_share(self) -> Loads:
        """The load each pod would have if all were equally utilized."""
        return self.level * self.pod_capacity

    def excess(self, ratio: float) -> Loads:
        """Return the load each pod has above `ratio` fair shares; 0 for a draining one, which gives all anyway."""
        above = self.pod_load - ratio * self.fair_share
        return np.where(self.pod_evacuates | (above <= TOLERANCE * self.fair_share), 0.0, above)

    def after(self, moves: Moves) -> "Standing":
        """Return the fleet with these moves counted as done."""
        if not moves.tiles.size:
            return self
        load, pods = self.tile_load[moves.tiles], self.pod_capacity.size
        tile_pod, movable = self.tile_pod.copy(), self.tile_movable.copy()
        sources = tile_pod[moves.tiles] + 1
        tile_pod[moves.tiles], movable[moves.tiles] = moves.targets, False
        gained = np.bincount(moves.targets, minlength=pods) - np.bincount(sources, minlength=pods + 1)[1:]
        return replace(
            self,
            tile_pod=tile_pod,
            tile_movable=movable,
            pod_load=self.pod_load
            + np.bincount(moves.targets, weights=load, minlength=pods)
            - np.bincount(sources, weights=load, minlength=pods + 1)[1:],
            pod_slots=np.where(self.pod_receives, self.pod_slots - gained, 0),
            pod_tiles=self.pod_tiles + gained,
        )


def _fair_utilization(load: Loads, capacity: Loads, receives: Flags, evacuates: Flags, load_total: float) -> float:
    """Return the utilization at which all that may be levelled is level, 0 when no pod receives.

    What has no owner and what leaves a draining pod comes to the receiving ones. A cordoned pod can only give: it
    takes part if it is hotter than the rest, and keeps what it has, for itself, if it is not.
    """
    if not receives.any():
        return 0.0
    cordoned = np.flatnonzero(~receives & ~evacuates)
    kept, size = float(load[cordoned].sum()), float(capacity[receives].sum())
    level = (load_total - kept) / size
    for pod in cordoned[np.argsort(-(load[cordoned] / capacity[cordoned]), kind="stable")].tolist():
        if load[pod] <= level * capacity[pod]:
            break
        level = (level * size + float(load[pod])) / (size + float(capacity[pod]))
        size += float(capacity[pod])
    return level
