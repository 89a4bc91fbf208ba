"""Owns a plan's splits and merges by names: what becomes of which tiles, on which pod, and what that was decided on."""

from collections.abc import Sequence

import msgspec
import numpy as np

from subgraph.domain.fleet.columns import FleetColumns
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.planning.plan import Plan
from subgraph.domain.planning.reasons import UnsplitReason
from subgraph.domain.planning.resolution import Divisions
from subgraph.domain.succession import children_of, parent_of


class FleetSplit(msgspec.Struct, frozen=True, array_like=True):
    """One tile that its children replace. `pod_id` has it and will have them; None: nobody."""

    tile_id: TileId
    pod_id: PodId | None
    into: tuple[TileId, ...]
    load: float
    tile_version: int


class FleetMerge(msgspec.Struct, frozen=True, array_like=True):
    """A complete set of siblings that their parent replaces. `tile_versions` are in the order of `tiles`."""

    parent: TileId
    pod_id: PodId | None
    tiles: tuple[TileId, ...]
    load: float
    tile_versions: tuple[int, ...]


def split_of(fleet: Fleet, tile_id: TileId) -> FleetSplit:
    """The split of a tile as it is now."""
    row = fleet.tiles.row(tile_id)
    assert row is not None
    return FleetSplit(
        tile_id, fleet.owner_id(row), children_of(tile_id), _load(fleet, [row]), int(fleet.tiles.changed_at[row])
    )


def merge_of(fleet: Fleet, parent: TileId) -> FleetMerge:
    """The merge of all children of a tile as they are now."""
    tiles = children_of(parent)
    rows = [row for row in map(fleet.tiles.row, tiles) if row is not None]
    assert len(rows) == len(tiles)
    versions = tuple(int(fleet.tiles.changed_at[row]) for row in rows)
    return FleetMerge(parent, fleet.owner_id(rows[0]), tiles, _load(fleet, rows), versions)


def planned_splits(fleet: Fleet, columns: FleetColumns, plan: Plan) -> list[FleetSplit]:
    """The splits of a plan, the hottest tile first."""
    return [split_of(fleet, fleet.tiles.id_of(int(columns.tile_rows[tile]))) for tile in plan.splitting.tiles.tolist()]


def planned_merges(fleet: Fleet, columns: FleetColumns, plan: Plan, divisions: Divisions) -> list[FleetMerge]:
    """The merges of a plan, the coldest siblings first."""
    firsts = divisions.family_tiles[divisions.family_offsets[plan.merging]]
    parents = (parent_of(fleet.tiles.id_of(int(columns.tile_rows[tile]))) for tile in firsts.tolist())
    return [merge_of(fleet, parent) for parent in parents if parent is not None]


def refused_splits(fleet: Fleet, columns: FleetColumns, plan: Plan) -> list[tuple[TileId, str]]:
    """Tiles as hot as those that split, which do not, each with the reason."""
    refused = zip(plan.splitting.refused.tolist(), plan.splitting.reasons.tolist(), strict=True)
    return [(fleet.tiles.id_of(int(columns.tile_rows[tile])), UnsplitReason(reason).name) for tile, reason in refused]


def _load(fleet: Fleet, rows: Sequence[int]) -> float:
    return float(np.nansum(fleet.tiles.smoothed[rows]))
