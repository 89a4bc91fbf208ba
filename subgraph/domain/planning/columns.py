"""Owns what the planner is told: the fleet as columns, one row per tile and one per pod."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Loads: TypeAlias = npt.NDArray[np.float64]
Rows: TypeAlias = npt.NDArray[np.int32]
Positions: TypeAlias = npt.NDArray[np.intp]
Counts: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

UNOWNED = -1
NO_LIMIT = 2**62  # far beyond any fleet, and counting up or down from it does not overflow


@dataclass(frozen=True, slots=True, eq=False)
class PlanningInput:
    """T tiles and P pods. The row numbers are the ids here; the caller knows what they stand for.

    `tile_load` is NaN where a tile never reported: it counts as an average tile, because no report is not zero.
    `tile_pod` counts moves in flight as done (the next owner, where one prepares); UNOWNED where there is none, which
    is also how the tiles of a lost pod come in. An unowned tile is placed whether it is movable or not.
    `tile_movable` is False while a handoff of the tile is in flight, while it cools down, and while it is pinned.
    A pod that neither accepts nor evacuates is cordoned: it keeps what it has, and may give when it is too hot.
    """

    tile_load: Loads
    tile_pod: Rows
    tile_movable: Flags
    pod_capacity: Loads
    pod_accepts: Flags
    pod_evacuates: Flags
    pod_tiles_max: Counts
    tiles_in_flight: int = 0

    def __post_init__(self) -> None:
        tiles, pods = self.tile_load.size, self.pod_capacity.size
        if self.tile_pod.size != tiles or self.tile_movable.size != tiles:
            raise ValueError("tile columns differ in length")
        if not self.pod_accepts.size == self.pod_evacuates.size == self.pod_tiles_max.size == pods:
            raise ValueError("pod columns differ in length")
        if tiles and not UNOWNED <= int(self.tile_pod.min()) <= int(self.tile_pod.max()) < pods:
            raise ValueError("tile_pod names a pod row that does not exist")
        if not np.all((self.pod_capacity > 0) & np.isfinite(self.pod_capacity)):
            raise ValueError("pod_capacity must be finite and above 0")
        if self.tiles_in_flight < 0:
            raise ValueError("tiles_in_flight cannot be negative")


def known_loads(tile_load: Loads) -> Loads:
    """Return the loads with every missing one estimated: the mean of those reported, 1.0 when nothing was.

    The mean, not the median: it keeps the expected total right, and shares of the total are what is balanced.
    """
    reported = np.isfinite(tile_load)
    floored = np.maximum(tile_load, 0.0)
    if reported.all():
        return floored
    return np.where(reported, floored, floored[reported].mean() if reported.any() else 1.0)
