"""Owns the planner's input: the fleet as columns, one row per tile and one per pod."""

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
    `tile_cools` and `tile_in_handoff` say which of these it is, where that is known; a reason may name it, no more.
    `tile_waits` is True where a tile must not be given to anyone while it is unowned, None: nowhere.
    A pod that neither accepts nor evacuates is cordoned: it keeps what it has, and may give when it is too hot.
    `tile_group` and `group_allows` (one row a group, one column a pod) say which pods a tile may be on, None: any.
    `tile_pin` is the one pod an operator wants the tile on, UNOWNED where it is free: it goes there, never elsewhere.
    The neighbours of tile t are `neighbors[neighbor_offsets[t] : neighbor_offsets[t + 1]]`, each pair in both rows.
    """

    tile_load: Loads
    tile_pod: Rows
    tile_movable: Flags
    pod_capacity: Loads
    pod_accepts: Flags
    pod_evacuates: Flags
    pod_tiles_max: Counts
    tiles_in_flight: int = 0
    tile_cools: Flags | None = None
    tile_in_handoff: Flags | None = None
    tile_waits: Flags | None = None
    tile_group: Rows | None = None
    group_allows: Flags | None = None
    tile_pin: Rows | None = None
    neighbor_offsets: Counts | None = None
    neighbors: Rows | None = None

    def __post_init__(self) -> None:
        tiles, pods = self.tile_load.size, self.pod_capacity.size
        if self.tile_pod.size != tiles or self.tile_movable.size != tiles:
            raise ValueError("tile columns differ in length")
        if self.tile_waits is not None and self.tile_waits.size != tiles:
            raise ValueError("tile columns differ in length")
        if not self.pod_accepts.size == self.pod_evacuates.size == self.pod_tiles_max.size == pods:
            raise ValueError("pod columns differ in length")
        if tiles and not UNOWNED <= int(self.tile_pod.min()) <= int(self.tile_pod.max()) < pods:
            raise ValueError("tile_pod names a pod row that does not exist")
        if not np.all((self.pod_capacity > 0) & np.isfinite(self.pod_capacity)):
            raise ValueError("pod_capacity must be finite and above 0")
        if self.tiles_in_flight < 0:
            raise ValueError("tiles_in_flight cannot be negative")
        self._check_rules(tiles, pods)
        if (self.neighbor_offsets is None) != (self.neighbors is None):
            raise ValueError("neighbor_offsets and neighbors come together")
        if self.neighbor_offsets is not None and self.neighbors is not None:
            self._check_neighbors(self.neighbor_offsets, self.neighbors)

    def _check_neighbors(self, offsets: Counts, neighbors: Rows) -> None:
        if offsets.size != self.tile_load.size + 1 or int(offsets[-1]) != neighbors.size:
            raise ValueError("neighbor_offsets has one entry more than there are tiles, and ends with their number")

    def _check_rules(self, tiles: int, pods: int) -> None:
        if (self.tile_group is None) != (self.group_allows is None):
            raise ValueError("tile_group and group_allows come together")
        if self.tile_group is not None and self.group_allows is not None:
            if self.tile_group.size != tiles or self.group_allows.ndim != 2 or self.group_allows.shape[1] != pods:
                raise ValueError("tile_group has a row for every tile, group_allows a column for every pod")
            if tiles and not 0 <= int(self.tile_group.min()) <= int(self.tile_group.max()) < len(self.group_allows):
                raise ValueError("tile_group names a group that does not exist")
        if self.tile_pin is not None:
            if self.tile_pin.size != tiles:
                raise ValueError("tile columns differ in length")
            if tiles and not UNOWNED <= int(self.tile_pin.min()) <= int(self.tile_pin.max()) < pods:
                raise ValueError("tile_pin names a pod row that does not exist")

    def neighbors_on_pods(self, tile: int) -> Counts:
        """Return how many neighbours of the tile each pod has."""
        pods = self.pod_capacity.size
        if self.neighbor_offsets is None or self.neighbors is None:
            return np.zeros(pods, np.int64)
        around = self.neighbors[self.neighbor_offsets[tile] : self.neighbor_offsets[tile + 1]]
        return np.bincount(self.tile_pod[around] + 1, minlength=pods + 1)[1:].astype(np.int64)


def known_loads(tile_load: Loads) -> Loads:
    """Return the loads with every missing one estimated: the mean of those reported, 1.0 when nothing was.

    The mean, not the median: it keeps the expected total right, and shares of the total are what is balanced.
    """
    reported = np.isfinite(tile_load)
    floored = np.maximum(tile_load, 0.0)
    if reported.all():
        return floored
    return np.where(reported, floored, floored[reported].mean() if reported.any() else 1.0)
