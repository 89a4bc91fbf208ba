"""Owns the phase that merges complete sets of siblings that are on one pod and cold, the coldest first."""

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Loads, Rows
from subgraph.domain.planning.resolution import Divisions
from subgraph.domain.planning.standing import Standing


def merge(
    start: Standing, final: Standing, reported: Loads, divisions: Divisions, load_max: float, merges_max: int
) -> Rows:
    """Return the families that merge.

    Args:
        start: the fleet as it came in.
        final: the fleet after all moves of this plan: what it moves, it does not merge.
        reported: the loads as they came in: siblings that never reported may be anything but cold.
        divisions: the families.
        load_max: what siblings may have together.
        merges_max: how many families at most.
    """
    tiles, starts = divisions.family_tiles, divisions.family_offsets[:-1]
    if not starts.size or not merges_max:
        return np.empty(0, np.int32)
    load = np.add.reduceat(reported[tiles], starts)
    pods = final.tile_pod[tiles]
    together = np.minimum.reduceat(pods, starts) == np.maximum.reduceat(pods, starts)
    moved = np.logical_or.reduceat(pods != start.tile_pod[tiles], starts)
    pod = pods[starts]
    stays = (pod != UNOWNED) & ~final.pod_evacuates[pod]
    with np.errstate(invalid="ignore"):
        cold = np.flatnonzero(together & ~moved & stays & (load <= load_max))
    return cold[np.argsort(load[cold], kind="stable")][:merges_max].astype(np.int32)
