"""Owns which tiles a hot pod gives away: a set that covers its excess with little left over."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.columns import Flags, Loads, Positions, Rows
from subgraph.domain.planning.standing import Standing

# One more handoff is worth this much load over the excess, as a share of the pod's fair share.
HANDOFF_COST_RATIO = 0.0002


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """The movable tiles of hot pods, sorted by pod and, within a pod, by load."""

    tiles: Rows
    pods: Rows
    loads: Loads

    @classmethod
    def of(cls, standing: Standing, pod_is_hot: Flags) -> "Candidates":
        """Return the movable tiles of these pods; idle ones relieve nobody."""
        chosen = standing.tile_movable & pod_is_hot[standing.tile_pod] & (standing.tile_load > 0)
        tiles = np.flatnonzero(chosen).astype(np.int32)
        pods, loads = standing.tile_pod[tiles], standing.tile_load[tiles]
        order = np.lexsort((loads, pods))
        return cls(tiles[order], pods[order], loads[order])

    def only(self, kept: Flags) -> "Candidates":
        """Return those which are kept, in the same order."""
        return Candidates(self.tiles[kept], self.pods[kept], self.loads[kept])

    def without(self, positions: Positions) -> "Candidates":
        """Return all but those at these positions, in the same order."""
        kept = np.ones(self.tiles.size, np.bool_)
        kept[positions] = False
        return self.only(kept)


def shed(candidates: Candidates, need: Loads, spare: Loads, fair_share: Loads) -> Positions:
    """Return the positions, among the candidates, of the tiles that each pod should give.

    `need` is what a pod has to lose (above 0 for every pod with a candidate), `spare` what it may lose beyond that.
    Considered are all runs of neighbours in the order of load, found for all pods at once: a run starts at any tile and
    ends with the one that covers the need. Where each run is too much or too little for its pod, the run that comes
    closest from below is given; the rest of the need is for another pass.
    """
    if not candidates.tiles.size:
        return np.empty(0, np.intp)
    pods, starts = candidates.pods, np.arange(candidates.tiles.size)
    pod_starts = np.flatnonzero(np.diff(pods, prepend=-1))
    sizes = np.diff(pod_starts, append=starts.size)
    pod_ends = np.repeat(pod_starts + sizes, sizes)
    sums = np.concatenate(([0.0], np.cumsum(candidates.loads)))
    wanted = need[pods]
    # The tolerance keeps a run that covers exactly from being lengthened by a rounding error of the running sum.
    ends = np.searchsorted(sums, sums[:-1] + wanted * (1 - 1e-9), side="left")
    over = sums[np.minimum(ends, starts.size)] - sums[:-1] - wanted
    covers = (ends <= pod_ends) & (over <= spare[pods])
    ends = np.where(covers, ends, np.minimum(ends - 1, pod_ends))
    short = wanted - (sums[ends] - sums[:-1])
    cost = HANDOFF_COST_RATIO * fair_share[pods] * (ends - starts)
    cost += np.where(covers, over, short + wanted + fair_share[pods])
    cost[ends == starts] = np.inf
    least = np.minimum.reduceat(cost, pod_starts)
    best = np.flatnonzero((cost == np.repeat(least, sizes)) & np.isfinite(cost))
    best = best[np.diff(pods[best], prepend=-1) != 0]  # the first of equals
    lengths = ends[best] - starts[best]
    return np.repeat(best - np.cumsum(lengths) + lengths, lengths) + np.arange(int(lengths.sum()))
