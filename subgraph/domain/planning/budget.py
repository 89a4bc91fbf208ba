"""Owns the budget of a balancing round: in total, and per pod that gives or receives."""

import math
from dataclasses import dataclass, replace

import numpy as np

from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.columns import Counts, Flags, Loads, Rows
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing

# However small a pod's fair share, its limits are at least what this many average tiles weigh: for a pod of a few
# tiles a share of its load is less than one of them.
AVERAGE_TILES_MIN = 8


@dataclass(frozen=True, slots=True, eq=False)
class Budget:
    """What is left of a round. The columns have one entry a pod.

    As with the budget of the round, a pod that was not touched may go beyond its limit by one tile heavier than that.
    """

    in_all: Allowance
    give_load: Loads
    take_load: Loads
    give_tiles: Counts
    take_tiles: Counts
    gave: Flags
    took: Flags

    @classmethod
    def of(cls, standing: Standing, policy: BalancePolicy, in_all: Allowance) -> "Budget":
        """Return the budget of a round that has not moved anything.

        The fewer tiles a pod has, the less it is warm, and the less it takes: from what it may be filled with, where it
        has none, to what it may take, where it has its fair number of them.
        """
        capacity = standing.pod_capacity
        fair_tiles = standing.tile_load.size * capacity / capacity.sum()
        warm = np.minimum(1.0, standing.pod_tiles / np.maximum(fair_tiles, 1.0))
        cold_max, warm_max = policy.pod_filled_ratio_max, policy.pod_taken_ratio_max
        tiles = np.maximum(policy.pod_tiles_moved_max, policy.pod_tiles_moved_ratio_max * fair_tiles)
        tiles = np.minimum(tiles, standing.tile_load.size).astype(np.int64)
        untouched = np.zeros(capacity.size, np.bool_)
        return cls(
            in_all,
            give_load=_load_max(standing, np.full(capacity.size, policy.pod_given_ratio_max)),
            take_load=_load_max(standing, np.minimum(warm_max, cold_max + (warm_max - cold_max) * warm)),
            give_tiles=tiles,
            take_tiles=tiles,
            gave=untouched,
            took=untouched,
        )

    @classmethod
    def unlimited(cls, standing: Standing) -> "Budget":
        """Return the budget of a round in which nothing has to be handed over yet."""
        pods, tiles = standing.pod_capacity.size, standing.tile_load.size
        loads, counts, untouched = np.full(pods, np.inf), np.full(pods, tiles), np.zeros(pods, np.bool_)
        return cls(Allowance(math.inf, tiles), loads, loads, counts, counts, untouched, untouched)

    def for_filling(self, standing: Standing, policy: BalancePolicy) -> "Budget":
        """Return the budget of the same untouched round in which pods take no more than they may be filled with."""
        filled = _load_max(standing, np.full(self.gave.size, policy.pod_filled_ratio_max))
        return replace(self, take_load=np.minimum(self.take_load, filled))

    def less(self, standing: Standing, moves: Moves) -> "Budget":
        """Return what is left after these moves of the fleet as it stood before them."""
        return self.after(standing.tile_load[moves.tiles], standing.tile_pod[moves.tiles], moves.targets)

    def after(self, loads: Loads, sources: Rows, targets: Rows) -> "Budget":
        """Return what is left after tiles of these loads went from these pods to those."""
        if not loads.size:
            return self
        pods = self.gave.size
        given, taken = (np.bincount(rows, minlength=pods) for rows in (sources, targets))
        return Budget(
            self.in_all.less(float(loads.sum()), loads.size),
            give_load=np.maximum(0.0, self.give_load - np.bincount(sources, weights=loads, minlength=pods)),
            take_load=np.maximum(0.0, self.take_load - np.bincount(targets, weights=loads, minlength=pods)),
            give_tiles=self.give_tiles - given,
            take_tiles=self.take_tiles - taken,
            gave=self.gave | (given > 0),
            took=self.took | (taken > 0),
        )

    def heaviest_given(self, pods: Rows) -> Loads:
        """Return the load of the heaviest tile that each of these pods may give, below 0 where it may give none."""
        return _heaviest(self.give_load[pods], self.give_tiles[pods], self.gave[pods])

    def heaviest_taken(self, pods: Rows) -> Loads:
        """Return the load of the heaviest tile that each of these pods may take, below 0 where it may take none."""
        return _heaviest(self.take_load[pods], self.take_tiles[pods], self.took[pods])

    def given_in_turn(self, sources: Rows) -> Flags:
        """Return which of these tiles, one after the other, the number of tiles that a pod may give admits."""
        order = np.argsort(sources, kind="stable")
        starts = np.flatnonzero(np.diff(sources[order], prepend=-1))
        turn = np.arange(order.size) - np.repeat(starts, np.diff(starts, append=order.size))
        admitted = np.empty(order.size, np.bool_)
        admitted[order] = turn < self.give_tiles[sources[order]]
        return admitted

    def gives_less_than(self, loads: Loads) -> Flags:
        """Return which pods may not give that load any more. One that was not touched may give a tile of any load."""
        less = (self.gave & (self.give_load < loads * (1 - TOLERANCE))) | (self.give_load <= 0)
        given_less: Flags = (loads > 0) & (less | (self.give_tiles <= 0))
        return given_less

    def takes_less_than(self, loads: Loads) -> Flags:
        """Return which pods may not take that load any more. One that was not touched may take a tile of any load."""
        less = (self.took & (self.take_load < loads * (1 - TOLERANCE))) | (self.take_load <= 0)
        taken_less: Flags = (loads > 0) & (less | (self.take_tiles <= 0))
        return taken_less


def _load_max(standing: Standing, ratio: Loads) -> Loads:
    average = float(standing.tile_load.mean()) if standing.tile_load.size else 0.0
    least = np.where(ratio > 0, AVERAGE_TILES_MIN * average, 0.0)
    limits: Loads = np.maximum(ratio * np.maximum(standing.fair_share, np.finfo(np.float64).tiny), least)
    return limits


def _heaviest(load: Loads, tiles: Counts, touched: Flags) -> Loads:
    # The tolerance: what is left of a limit after moves must not refuse what just fills it.
    limits: Loads = np.where(touched | (load <= 0), load * (1 + TOLERANCE), np.inf)
    limits[tiles <= 0] = -1.0
    return limits
