"""Owns what becomes of tiles when one splits into its H3 children, or a complete set of siblings merges.

Either way some tiles retire and others succeed them, in one step: all of its records are written, or none. The same pod
owns the successors at once, at higher epochs and unacknowledged, while the owners of the retired ones drain. Each
successor names the tiles it replaces until its owner has shut their former owners out at every sink.
"""

from collections.abc import Mapping

import h3.api.basic_int as h3
import msgspec

from subgraph.domain import ownership
from subgraph.domain.coverage import FINEST_RESOLUTION
from subgraph.domain.errors import IllegalState
from subgraph.domain.ids import TileId, parse_tile_id, tile_id
from subgraph.domain.ownership import AssignmentReason, Term, TileRecord

CHILDREN_MAX = 7
"""Children of a cell; a pentagon has one less."""


def children_of(tile: TileId) -> tuple[TileId, ...]:
    """The tiles one resolution finer that make up a tile, in the order of their cells; none at the finest."""
    session_id, cell = parse_tile_id(tile)
    if h3.get_resolution(cell) == FINEST_RESOLUTION:
        return ()
    return tuple(tile_id(session_id, child) for child in sorted(h3.cell_to_children(cell)))


def parent_of(tile: TileId) -> TileId | None:
    """The tile one resolution coarser that a tile is a part of; None at the coarsest."""
    session_id, cell = parse_tile_id(tile)
    return tile_id(session_id, h3.cell_to_parent(cell)) if h3.get_resolution(cell) else None


def split(tile: TileId, record: TileRecord, first_epoch: int, now_ms: int) -> dict[TileId, TileRecord]:
    """A tile retires, its children take its place with all that lasts: capacity, pin, and whatever else was asked.

    Args:
        tile: the tile.
        record: it, settled or without an owner.
        first_epoch: the first of as many reserved epochs as there are children; not used where nobody owns the tile.
        now_ms: the live store's time.

    Raises:
        IllegalState: the tile is in the middle of something, or at the finest resolution.
    """
    children = children_of(tile)
    _require(bool(children), "a tile at the finest resolution has no children")
    registered = _registered_resolution(tile, record)
    lasting = msgspec.structs.replace(record, registered_resolution=registered)
    predecessors = {tile: record}
    return {tile: _superseded(record, now_ms)} | {
        child: _successor(child, lasting, predecessors, AssignmentReason.TILE_SPLIT, epoch, now_ms)
        for epoch, child in enumerate(children, first_epoch)
    }


def merge(parent: TileId, siblings: Mapping[TileId, TileRecord], epoch: int, now_ms: int) -> dict[TileId, TileRecord]:
    """All children of a tile retire, and it takes their place.

    Args:
        parent: the tile, which is not there yet.
        siblings: all its children, each settled on one and the same pod, or none of them owned.
        epoch: reserved for the parent; not used where nobody owns the children.
        now_ms: the live store's time.

    Raises:
        IllegalState: one is missing, elsewhere, unlike the others or in the middle of something; or the parent would be
            coarser than what was registered.
    """
    _require(set(siblings) == set(children_of(parent)), "only a complete set of siblings merges")
    first, *others = siblings.values()
    owner = first.owner and first.owner.pod_id
    _require(all((one.owner and one.owner.pod_id) == owner for one in others), "siblings on several pods do not merge")
    _require(all(lasting_of(one) == lasting_of(first) for one in others), "siblings that differ do not merge")
    resolution = resolution_of(parent)
    registered = first.registered_resolution
    _require(registered is not None and registered <= resolution, "no tile is coarser than what was registered")
    lasting = msgspec.structs.replace(first, registered_resolution=None if registered == resolution else registered)
    return {one: _superseded(record, now_ms) for one, record in siblings.items()} | {
        parent: _successor(parent, lasting, siblings, AssignmentReason.TILE_MERGED, epoch, now_ms)
    }


def resolution_of(tile: TileId) -> int:
    """The H3 resolution of a tile."""
    return int(h3.get_resolution(parse_tile_id(tile)[1]))


def lasting_of(record: TileRecord) -> TileRecord:
    """A tile without what belongs to its terms: what its successors have in common with it, and siblings must have."""
    return msgspec.structs.replace(record, owner=None, next=None, draining=None, last_epoch=0, replaces=())


def _registered_resolution(tile: TileId, record: TileRecord) -> int:
    return resolution_of(tile) if record.registered_resolution is None else record.registered_resolution


def _superseded(record: TileRecord, now_ms: int) -> TileRecord:
    _require(not record.retiring, "a retiring tile is over, or replaced already")
    _require(record.is_settled or not ownership.terms_of(record), "a handoff is under way")
    # A tile that nobody owned stays for a moment too: that is how everybody learns when it was replaced.
    retiring = ownership.retire(record, now_ms) or msgspec.structs.replace(record, retiring=True)
    return msgspec.structs.replace(retiring, retired_at_ms=now_ms)


def _successor(
    tile: TileId,
    lasting: TileRecord,
    predecessors: Mapping[TileId, TileRecord],
    reason: AssignmentReason,
    epoch: int,
    now_ms: int,
) -> TileRecord:
    # What its predecessors replaced, and may not have shut out yet, is for the successor to shut out too.
    further = (former for record in predecessors.values() for former in record.replaces)
    unowned = msgspec.structs.replace(
        lasting_of(lasting),
        last_epoch=max(record.highest_epoch for record in predecessors.values()),
        replaces=tuple(former for former in dict.fromkeys((*predecessors, *further)) if former != tile),
    )
    if lasting.owner is None:
        return unowned
    return ownership.place(unowned, Term(lasting.owner.pod_id, epoch, reason, now_ms))


def _require(condition: bool, why: str) -> None:
    if not condition:
        raise IllegalState(f"a tile cannot split or merge so: {why}", "RESOLUTION")
