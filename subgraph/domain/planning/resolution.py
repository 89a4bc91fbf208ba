"""Owns the policy on tile resolution: the load above which a tile splits, below which siblings merge, and limits."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.columns import Counts, Flags, Rows
from subgraph.domain.planning.standing import Standing

PARTS_MAX = 7
"""Tiles that one splits into; a pentagon into one less, which nobody needs to know here."""
MAY_SPLIT = -1
"""In `tile_obstacle`: nothing forbids it."""
MERGE_RATIO_MAX = 0.5
"""With less than a factor of two between the loads of a split and a merge, one might call for the other."""


@dataclass(frozen=True, slots=True)
class ResolutionPolicy:
    """When tiles split and merge. Ratios have no unit; `split_load` says what they come to.

    Siblings merge when they are cold, by default an eighth of what would split them, and none of their terms is younger
    than `merge_after_ms`: so an hourly peak does not split and merge the same tiles again and again.
    """

    enabled: bool = True
    room_ratio: float = 0.8  # of the largest pod's capacity: what is heavier no pod can bear well
    share_ratio: float = 2.0  # of the mean pod's share: what is heavier makes the fleet uneven wherever it is
    floor_ratio: float = 0.1  # of the largest pod's capacity: what is lighter never splits for evenness
    merge_ratio: float = 0.125  # of the load that splits a tile: up to that, siblings together are cold
    splits_max: int = 4  # a round
    merges_max: int = 4  # a round
    finer_max: int = 3  # resolutions that a tile may be finer than what was registered
    resolution_max: int = 15  # the finest there may be
    merge_after_ms: int = 300_000

    def __post_init__(self) -> None:
        if not 0 < self.floor_ratio <= self.room_ratio or self.share_ratio < 1:
            raise ValueError("0 < floor_ratio <= room_ratio and share_ratio >= 1 must hold")
        if not 0 <= self.merge_ratio <= MERGE_RATIO_MAX:
            raise ValueError(f"merge_ratio must lie between 0 and {MERGE_RATIO_MAX}: else splits and merges take turns")
        if min(self.splits_max, self.merges_max, self.finer_max, self.resolution_max, self.merge_after_ms) < 0:
            raise ValueError("numbers of splits, merges, resolutions and milliseconds cannot be negative")


@dataclass(frozen=True, slots=True, eq=False)
class Divisions:
    """Which tiles of the fleet may split, and which may merge; rows as in `PlanningInput`.

    `tile_obstacle` is an UnsplitReason where a tile may not split, MAY_SPLIT where it may.
    The tiles of family f, a complete set of siblings that may merge if they are on one pod and cold, are
    `family_tiles[family_offsets[f] : family_offsets[f + 1]]`.
    `pod_rests`: the pod has tiles that just split and are about to leave, so its others need not make room.
    """

    tile_obstacle: npt.NDArray[np.int8]
    family_offsets: Counts
    family_tiles: Rows
    pod_rests: Flags


def split_load(standing: Standing, target: float, policy: ResolutionPolicy) -> float:
    """Return the load above which a tile splits; infinite while no pod accepts tiles.

    Twice the mean share is what no pod but a larger one can bear evenly: such a pod's own share counts as well. Where
    the fleet as a whole has more load than capacity, finer tiles would not help, and the bound rises with the load.
    """
    receives = standing.pod_receives
    if not receives.any():
        return float("inf")
    capacity = standing.pod_capacity[receives]
    share = target * standing.level * capacity
    uneven = max(
        policy.share_ratio * float(share.mean()), float(share.max()), policy.floor_ratio * float(capacity.max())
    )
    return min(policy.room_ratio * float(capacity.max()) * max(1.0, standing.level), uneven)
