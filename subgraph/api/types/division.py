"""Owns a plan's splits and merges in GraphQL: what becomes of which tiles, and hot tiles that stay whole."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.descriptions import show_enum
from subgraph.api.types.pod import Pod, load_pods
from subgraph.api.types.tile import Tile, tiles_of_rows
from subgraph.domain.fleet.planned_divisions import FleetMerge, FleetSplit
from subgraph.domain.ids import TileId
from subgraph.domain.planning.reasons import UnsplitReason

show_enum(
    UnsplitReason,
    name="TileUnsplitReason",
    description="Why a hot tile is not split.",
    values={
        UnsplitReason.FINEST_RESOLUTION: "It already has the finest permitted resolution.",
        UnsplitReason.NOT_SETTLED: (
            "A handoff of it is in progress, its owner has not acknowledged ACTIVE, or tiles of an earlier merge are "
            "still draining."
        ),
        UnsplitReason.PINNED: "It is pinned, so its children would stay on the same pod.",
        UnsplitReason.POD_FULL: "Its pod has reached its `maxTiles`.",
        UnsplitReason.SESSION_FULL: "Its session has reached its maximum number of tiles.",
        UnsplitReason.BUDGET_EXHAUSTED: "The number of splits in this round was used up by hotter tiles.",
    },
)


@strawberry.type(description="A tile that a plan replaces by its H3 children, on the same pod.")
class PlannedSplit:
    """A planned split."""

    split: strawberry.Private[FleetSplit]
    load: float = strawberry.field(description="The tile's smoothed load.")

    @strawberry.field(description="Id of the tile that is split.")
    def tile_id(self) -> strawberry.ID:
        """The tile's id."""
        return strawberry.ID(self.split.tile_id)

    @strawberry.field(description="The tile that is split; null once it has been removed.")
    def tile(self, info: Info) -> Tile | None:
        """The tile."""
        return _tiles(info, [self.split.tile_id])[0]

    @strawberry.field(description="Ids of the tiles that replace it: its H3 children.")
    def into(self) -> list[strawberry.ID]:
        """The children's ids."""
        return [strawberry.ID(tile_id) for tile_id in self.split.into]

    @strawberry.field(description="The pod that owns the tile and will own its children; null if it has no owner.")
    def pod(self, info: Info) -> Pod | None:
        """The pod."""
        return load_pods(info, [self.split.pod_id])[0] if self.split.pod_id else None


@strawberry.type(
    description="A complete set of H3 siblings that a plan replaces by their parent cell, on the same pod."
)
class PlannedMerge:
    """A planned merge."""

    merge: strawberry.Private[FleetMerge]
    load: float = strawberry.field(description="Sum of the tiles' smoothed loads.")

    @strawberry.field(description="Id of the tile that replaces them.")
    def parent(self) -> strawberry.ID:
        """The parent's id."""
        return strawberry.ID(self.merge.parent)

    @strawberry.field(description="Ids of the tiles that are merged.")
    def tile_ids(self) -> list[strawberry.ID]:
        """The siblings' ids."""
        return [strawberry.ID(tile_id) for tile_id in self.merge.tiles]

    @strawberry.field(description="The tiles that are merged, except those that have been removed.")
    def tiles(self, info: Info) -> list[Tile]:
        """The siblings."""
        return [tile for tile in _tiles(info, self.merge.tiles) if tile]

    @strawberry.field(description="The pod that owns the tiles and will own their parent; null if they have no owner.")
    def pod(self, info: Info) -> Pod | None:
        """The pod."""
        return load_pods(info, [self.merge.pod_id])[0] if self.merge.pod_id else None


@strawberry.type(description="A hot tile that is not split, with the reason.")
class UnsplitTile:
    """A hot tile."""

    tile_id: strawberry.ID = strawberry.field(description="The tile's id.")
    reason: UnsplitReason = strawberry.field(description="Why it is not split.")


def _tiles(info: Info, tile_ids: tuple[TileId, ...] | list[TileId]) -> list[Tile | None]:
    # Of all tenants, as the fleet is: whoever may see a plan may see its tiles.
    rows = [info.context.services.view.current().tiles.row(tile_id) for tile_id in tile_ids]
    tiles = iter(tiles_of_rows(info, [row for row in rows if row is not None]))
    return [None if row is None else next(tiles) for row in rows]
