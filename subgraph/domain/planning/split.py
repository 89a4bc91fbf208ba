"""Owns the phase that splits hot tiles, hottest first; the children are spread in later rounds."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import UNOWNED, PlanningInput, Rows
from subgraph.domain.planning.reasons import UnsplitReason
from subgraph.domain.planning.resolution import MAY_SPLIT, PARTS_MAX, Divisions
from subgraph.domain.planning.standing import Standing


@dataclass(frozen=True, slots=True, eq=False)
class Splitting:
    """What the phase decided: tiles to split, the hottest first, and tiles as hot that do not, with their reasons."""

    tiles: Rows
    refused: Rows
    reasons: npt.NDArray[np.int8]  # of UnsplitReason

    @classmethod
    def none(cls) -> "Splitting":
        """Return the phase that splits nothing."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int8))


def split(
    standing: Standing, columns: PlanningInput, divisions: Divisions, threshold: float, splits_max: int
) -> Splitting:
    """Return which tiles split.

    Args:
        standing: the fleet after placing, evacuating and repairing; what these moved is not split as well.
        columns: the fleet as it came in: no tile splits for a load that is only estimated.
        divisions: which tiles may split.
        threshold: the load above which they do.
        splits_max: how many at most.
    """
    with np.errstate(invalid="ignore"):
        is_hot = columns.tile_load > threshold
    hot = np.flatnonzero(is_hot & (standing.tile_pod != UNOWNED)).astype(np.int32)
    hot = hot[np.argsort(-standing.tile_load[hot], kind="stable")]
    obstacles = divisions.tile_obstacle[hot].copy()
    pods = standing.tile_pod[hot]
    # A draining pod gives the tile away first: it splits where it comes to.
    obstacles[(pods != columns.tile_pod[hot]) | standing.pod_evacuates[pods]] = UnsplitReason.NOT_SETTLED
    free = columns.pod_tiles_max - standing.pod_tiles
    splits = 0
    for position in np.flatnonzero(obstacles == MAY_SPLIT).tolist():
        pod = pods[position]
        if splits == splits_max:
            obstacles[position] = UnsplitReason.BUDGET_EXHAUSTED
        elif free[pod] < PARTS_MAX - 1:
            obstacles[position] = UnsplitReason.POD_FULL
        else:
            free[pod] -= PARTS_MAX - 1
            splits += 1
    chosen = obstacles == MAY_SPLIT
    return Splitting(hot[chosen], hot[~chosen], obstacles[~chosen])


def after_split(standing: Standing, splitting: Splitting, divisions: Divisions) -> Standing:
    """Return the fleet for balancing: pods with tiles that split now or just have are at rest, and have more tiles."""
    pods = standing.tile_pod[splitting.tiles]
    rests = divisions.pod_rests.copy()
    rests[pods] = True
    if not rests.any():
        return standing
    more = np.bincount(pods, minlength=rests.size) * (PARTS_MAX - 1)
    at_rest = (standing.tile_pod != UNOWNED) & rests[standing.tile_pod]
    return replace(
        standing,
        tile_movable=standing.tile_movable & ~at_rest,
        pod_tiles=standing.pod_tiles + more,
        pod_slots=np.where(standing.pod_receives, standing.pod_slots - more, 0),
    )
