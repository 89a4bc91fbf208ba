"""Owns which tiles of the picture may split, which siblings may merge, and what forbids it."""

from collections.abc import Mapping

import h3.api.basic_int as h3
import numpy as np
import numpy.typing as npt

from subgraph.domain.coverage import TILES_PER_SESSION_MAX
from subgraph.domain.coverage.cells import ancestors_of, resolutions_of
from subgraph.domain.fleet.columns import FleetColumns
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.tile_columns import AS_REGISTERED
from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.ids import TileId, tile_id
from subgraph.domain.ownership import TileRecord
from subgraph.domain.planning.columns import Flags
from subgraph.domain.planning.reasons import UnsplitReason
from subgraph.domain.planning.resolution import MAY_SPLIT, PARTS_MAX, Divisions, ResolutionPolicy
from subgraph.domain.succession import lasting_of, parent_of, resolution_of

REST_MS = 10_000
"""For how long a pod whose tiles have just split is left alone while it does not say that it works on the parts."""


def finest_resolution(tile: TileId, record: TileRecord, policy: ResolutionPolicy) -> int:
    """The finest resolution that a tile may be split to."""
    registered = resolution_of(tile) if record.registered_resolution is None else record.registered_resolution
    return min(registered + policy.finer_max, policy.resolution_max)


def divisions_of(
    fleet: Fleet,
    columns: FleetColumns,
    settled: Mapping[TileId, TileRecord | None],
    now_ms: int,
    policy: ResolutionPolicy,
    *,
    by_hand: bool = False,
) -> Divisions:
    """What the planner may split and merge of these columns' tiles.

    Args:
        fleet: the picture.
        columns: the planner's, made of it.
        settled: records that this cycle writes anyway: their tiles are in the middle of something.
        now_ms: the live store's time.
        policy: the bounds.
        by_hand: an operator asks: siblings need not have been together for long.
    """
    at_work = _at_work(fleet.tiles, columns.tile_rows, settled)
    rest_ms = 0 if by_hand else policy.merge_after_ms
    families = _families(fleet, columns, at_work, now_ms - rest_ms)
    return Divisions(
        tile_obstacle=_obstacles(fleet.tiles, columns.tile_rows, at_work, policy),
        family_offsets=np.cumsum([0, *map(len, families)], dtype=np.int64),
        family_tiles=np.array([position for family in families for position in family], np.int32),
        pod_rests=_resting(fleet, columns, now_ms),
    )


def _at_work(tiles: TileTable, tile_rows: npt.NDArray[np.intp], settled: Mapping[TileId, TileRecord | None]) -> Flags:
    """Which of the tiles have an owner that works on them, with nothing under way."""
    at_work: Flags = tiles.owner_acknowledged_ms[: tiles.rows_used] > 0
    at_work[[*tiles.next, *tiles.draining]] = False
    at_work[[row for row in map(tiles.row, settled) if row is not None]] = False
    return at_work[tile_rows]


def _obstacles(
    tiles: TileTable, tile_rows: npt.NDArray[np.intp], at_work: Flags, policy: ResolutionPolicy
) -> npt.NDArray[np.int8]:
    obstacles = np.full(tile_rows.size, MAY_SPLIT, np.int8)
    sessions = tiles.session[tile_rows]
    full = np.bincount(sessions) > TILES_PER_SESSION_MAX - (PARTS_MAX - 1)
    obstacles[full[sessions]] = UnsplitReason.SESSION_FULL
    obstacles[np.isin(tile_rows, list(tiles.pins))] = UnsplitReason.PINNED
    # What an earlier merge replaced is in the way of the parts until it is gone.
    parents = (parent_of(tiles.id_of(row)) for row in tiles.retired_at_ms)
    in_the_way = [row for row in (tiles.row(parent) for parent in parents if parent) if row is not None]
    obstacles[~at_work | np.isin(tile_rows, in_the_way)] = UnsplitReason.NOT_SETTLED
    resolution, registered = resolutions_of(tiles.cell[tile_rows]), tiles.registered_resolution[tile_rows]
    registered = np.where(registered == AS_REGISTERED, resolution, registered)
    finest = np.minimum(registered + policy.finer_max, policy.resolution_max)
    obstacles[resolution >= finest] = UnsplitReason.FINEST_RESOLUTION
    return obstacles


def _families(fleet: Fleet, columns: FleetColumns, at_work: Flags, together_since_ms: int) -> list[list[int]]:
    """Complete sets of siblings from splits, as positions in the columns, that are alike and long on one pod."""
    tiles, tile_rows = fleet.tiles, columns.tile_rows
    is_part = tiles.registered_resolution[tile_rows] != AS_REGISTERED
    is_part &= at_work & (tiles.owner_since_ms[tile_rows] <= together_since_ms)
    parts = np.flatnonzero(is_part)
    if not parts.size:
        return []
    rows = tile_rows[parts]
    cells, owners = tiles.cell[rows], tiles.owner[rows]
    parents = ancestors_of(cells, resolutions_of(cells) - 1)
    order = np.lexsort((cells, parents, tiles.session[rows]))
    keys = np.stack((tiles.session[rows], parents, owners), axis=1)[order]
    starts = np.flatnonzero(np.any(np.diff(keys, axis=0, prepend=keys[:1] - 1) != 0, axis=1))
    families = [family.tolist() for family in np.split(parts[order], starts[1:]) if family.size >= PARTS_MAX - 1]
    return [family for family in families if _is_family(fleet, tile_rows[family].tolist())]


def _is_family(fleet: Fleet, rows: list[int]) -> bool:
    """Whether siblings on one pod are all there are, alike, and their parent's place is free."""
    tiles = fleet.tiles
    cell = int(tiles.cell[rows[0]])
    parent = h3.cell_to_parent(cell)
    if len(rows) != h3.cell_to_children_size(parent, h3.get_resolution(cell)):
        return False
    if tiles.row(tile_id(tiles.session_of(rows[0]), parent)) is not None:
        return False
    first, *others = (lasting_of(tiles.record(row, fleet.owner_id(row))) for row in rows)
    return all(one == first for one in others)


def _resting(fleet: Fleet, columns: FleetColumns, now_ms: int) -> Flags:
    tiles = fleet.tiles
    new = [
        fleet.owner_id(row)
        for row in tiles.replaces
        if not tiles.owner_acknowledged_ms[row] and now_ms - tiles.owner_since_ms[row] < REST_MS
    ]
    return np.array([pod.id in new for pod in columns.pods], np.bool_)
