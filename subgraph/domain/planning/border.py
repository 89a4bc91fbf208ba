"""Owns the choice of an adjacent pod for a tile: the one that fits best, and the cut edges that it costs."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Loads, Positions, Rows
from subgraph.domain.planning.neighbors import BLOCK_TILES, Neighbors
from subgraph.domain.planning.rules import Rules
from subgraph.domain.planning.standing import Standing

# An edge less is worth this many times what a pod may give over its need.
EDGE_WORTH = 2
# What it costs to give a tile to a pod that then is at the target, as a share of the tile's load: such a pod soon has
# to give itself. It costs nothing up to the fair share, and in between in proportion.
CROWDING_COST_RATIO = 0.6
# Neighbours of neighbours count as well, each way to them this much of an edge: it keeps regions round and in one
# piece, where the edges of a single tile say nothing.
SECOND_HAND = 0.2
# A tile with no neighbour on its pod is worse than the edges it cuts: what comes to rest beside it does so for its
# sake, and where it is heavy it cannot leave before its pod has that much to give.
LONELY_EDGES = 12


@dataclass(frozen=True, slots=True, eq=False)
class Receivers:
    """What pods can take, at this point of a round."""

    room: Loads  # up to the target; 0 where there is no slot, and for those that receive nothing
    slots: Counts
    load: Loads
    fair_share: Loads
    target_ratio: float

    def crowding(self, pods: Rows, loads: Loads) -> Loads:
        """Return, pair by pair, how far from its fair share (0) to the target (1) a pod gets with a tile."""
        share = self.fair_share[pods]
        above = self.load[pods] + loads - share
        crowded: Loads = np.clip(above / np.maximum((self.target_ratio - 1) * share, 1e-9 * share), 0.0, 1.0)
        return crowded


@dataclass(frozen=True, slots=True, eq=False)
class Surroundings:
    """Where every tile is, at this point of a round, who its neighbours are, and what keeping them may cost."""

    tile_pod: Rows
    neighbors: Neighbors
    rules: Rules | None
    over_max: float  # the load that a pod may give over its need

    @classmethod
    def of(cls, standing: Standing, over_max: float) -> "Surroundings | None":
        """Return the surroundings, to be kept up to date; None where neighbours are not known, or do not matter."""
        if standing.neighbors is None or over_max <= 0:
            return None
        return cls(standing.tile_pod.copy(), standing.neighbors, standing.rules, over_max)

    @property
    def edge_cost(self) -> float:
        """What one edge more costs that is cut, in load; one less gains as much."""
        return EDGE_WORTH * self.over_max


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """For some tiles, row by row: the best adjacent pod with room (UNOWNED: none has), and what it costs to go there.

    Where there is no such pod, it is what it costs to go to one where the tile has no neighbour.
    """

    pod: Rows
    cost: Loads

    @classmethod
    def of(cls, tiles: Rows, loads: Loads, around: Surroundings, receivers: Receivers) -> "Border":
        """Look around each of these tiles. An edge more costs what it costs, and an edge less gains as much."""
        blocks = [slice(start, start + BLOCK_TILES) for start in range(0, max(tiles.size, 1), BLOCK_TILES)]
        parts = [_look(tiles[block], loads[block], around, receivers) for block in blocks]
        return cls(np.concatenate([pods for pods, _ in parts]), np.concatenate([costs for _, costs in parts]))


def _look(tiles: Rows, loads: Loads, around: Surroundings, receivers: Receivers) -> tuple[Rows, Loads]:
    """Return the best adjacent pod of each of these tiles, and the cost."""
    tile_pod, pods = around.tile_pod, receivers.room.size
    positions, others = around.neighbors.around(tiles)
    here, there = tile_pod[tiles][positions], tile_pod[others]
    own = np.bincount(positions[here == there], minlength=tiles.size)
    outward = (there != here) & (there != UNOWNED)
    positions, there = positions[outward], there[outward]
    room = receivers.room[there]
    fits = (room > 0) & (room >= loads[positions])
    if around.rules is not None:
        fits &= around.rules.allow(tiles[positions], there)
    # One entry for each tile and pod beside it, with the number of its neighbours there.
    pairs = np.sort(positions[fits] * pods + there[fits])
    firsts = np.flatnonzero(np.diff(pairs, prepend=-1))
    shared = np.diff(firsts, append=pairs.size)
    places, adjacent = np.divmod(pairs[firsts], pods)
    cost = around.edge_cost * (own[places] - shared)
    cost += CROWDING_COST_RATIO * receivers.crowding(adjacent, loads[places]) * loads[places]
    order = np.lexsort((-receivers.room[adjacent], cost, places))
    best = order[np.diff(places[order], prepend=-1) != 0]
    at = places[best]
    pod = np.full(tiles.size, UNOWNED, np.int32)
    least = (around.edge_cost * (own + LONELY_EDGES)).astype(np.float64, copy=False)
    pod[at] = adjacent[best]
    least[at] = cost[best] + SECOND_HAND * around.edge_cost * _second_hand(tiles[at], pod[at], around)
    return pod, least


def _second_hand(tiles: Rows, pods: Rows, around: Surroundings) -> Positions:
    """Return how many more ways of two edges lead from each tile to its own pod, itself left out, than to this one."""
    first, others = around.neighbors.around(tiles)
    second, beyond = around.neighbors.around(others)
    ways, there = first[second], around.tile_pod[beyond]
    to_own = np.bincount(ways[there == around.tile_pod[tiles][ways]], minlength=tiles.size)
    to_itself = np.bincount(first, minlength=tiles.size)
    return to_own - to_itself - np.bincount(ways[there == pods[ways]], minlength=tiles.size)
