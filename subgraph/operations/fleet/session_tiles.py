"""Owns queries over all tiles of a session: filters and sums, computed on columns."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from subgraph.domain.coverage.cells import CellArray, resolutions_of
from subgraph.domain.fleet.health import HEALTHS, TileHealth, health_codes
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.ids import PodId, SessionId, TenantId

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TileQuery:
    """What tiles must be like; None: whatever they are."""

    healths: Collection[TileHealth] | None = None
    pod_id: PodId | None = None
    resolution: int | None = None
    assigned: bool | None = None
    cells: CellArray | None = None
    """In ascending order."""


@dataclass(frozen=True, slots=True)
class PartitionSums:
    """A session's tiles in numbers. `imbalance` is the highest over the mean load it puts on pods that have any."""

    tile_count: int
    unassigned_tiles: int
    records_per_second: float
    volume_bytes: int
    imbalance: float
    tiles_by_health: Mapping[TileHealth, int]


def session_rows(fleet: Fleet, tenant_id: TenantId, session_id: SessionId) -> Rows:
    """The rows of a session's tiles in force, in the order of their cells; none if it is not the tenant's."""
    rows = fleet.tiles.rows_in_force(session_id)
    is_tenants = rows.size and fleet.tiles.tenant_of(int(rows[0])) == tenant_id
    return rows if is_tenants else rows[:0]


def has_tiles(fleet: Fleet, session_ids: Sequence[SessionId]) -> bool:
    """Whether there is any tile of these sessions, in force or being released."""
    return any(fleet.tiles.rows_of_session(session_id).size for session_id in session_ids)


def matching(fleet: Fleet, rows: Rows, query: TileQuery, now_ms: int, report_interval_ms: int) -> Rows:
    """Those of the rows whose tiles match."""
    tiles = fleet.tiles
    keep = np.ones(rows.size, np.bool_)
    if query.healths is not None:
        wanted = [HEALTHS.index(health) for health in query.healths]
        keep &= np.isin(health_codes(fleet, rows, now_ms, report_interval_ms), wanted)
    if query.pod_id is not None:
        pod_row = fleet.pods.row(query.pod_id)
        keep &= tiles.owner[rows] == pod_row if pod_row is not None else False
    if query.resolution is not None:
        keep &= resolutions_of(tiles.cell[rows]) == query.resolution
    if query.assigned is not None:
        keep &= (tiles.owner[rows] != NOBODY) == query.assigned
    if query.cells is not None:
        keep &= np.isin(tiles.cell[rows], query.cells)
    return rows[keep]


def partition_sums(fleet: Fleet, rows: Rows, now_ms: int, report_interval_ms: int) -> PartitionSums:
    """The tiles of some rows in numbers."""
    tiles = fleet.tiles
    owner = tiles.owner[rows]
    owned = owner != NOBODY
    pods, which = np.unique(owner[owned], return_inverse=True)
    loads = np.bincount(which, weights=np.nan_to_num(tiles.smoothed[rows][owned]), minlength=pods.size)
    counts = np.bincount(health_codes(fleet, rows, now_ms, report_interval_ms), minlength=len(HEALTHS)).tolist()
    return PartitionSums(
        tile_count=rows.size,
        unassigned_tiles=int(np.count_nonzero(~owned)),
        records_per_second=float(tiles.records_per_second[rows].sum()),
        volume_bytes=int(tiles.volume_bytes[rows].sum()),
        imbalance=float(loads.max() / loads.mean()) if loads.any() else 1.0,
        tiles_by_health=dict(zip(HEALTHS, counts, strict=True)),
    )
