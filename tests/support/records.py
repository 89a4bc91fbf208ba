"""Owns looking at one tile that a fleet must have: a test that finds it missing, or without an owner, fails there."""

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import Term, TileRecord


def record_in(fleet: Fleet, tile_id: TileId) -> TileRecord:
    """The tile's record."""
    record = fleet.record(tile_id)
    assert record is not None, f"{tile_id} is not in the fleet"
    return record


def owner_in(fleet: Fleet, tile_id: TileId) -> Term:
    """The term of the tile's owner."""
    owner = record_in(fleet, tile_id).owner
    assert owner is not None, f"nobody owns {tile_id}"
    return owner
