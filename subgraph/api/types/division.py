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
    description="Why a tile that is too hot does not split.",
    values={
        UnsplitReason.FINEST_RESOLUTION: "It is as fine as it may get.",
        UnsplitReason.NOT_SETTLED: "It is moving, is not at work yet, or the tiles of an earlier merge still drain.",
        UnsplitReason.PINNED: "It is pinned, so its parts would stay together.",
        UnsplitReason.POD_FULL: "Its pod may have no more tiles (maxTiles).",
        UnsplitReason.SESSION_FULL: "Its session may have no more tiles.",
        UnsplitReason.BUDGET_EXHAUSTED: "Hotter ones split in this round.",
    },
)


@strawberry.type(description="One tile that a plan replaces by its H3 children, on the same pod.")
class PlannedSplit:
    """A planned split."""

    split: strawberry.Private[FleetSplit]
    load: float = strawberry.field(description="The tile's smoothed load.")

    @strawberry.field(description="Id of the tile that splits.")
    def tile_id(self) -> strawberry.ID:
        """The tile's id."""
        return strawberry.ID(self.split.tile_id)

    @strawberry.field(description="The tile that splits; null once it is gone.")
    def tile(self, info: Info) -> Tile | None:
        """The tile."""
        return _tiles(info, [self.split.tile_id])[0]

    @strawberry.field(description="Ids of the tiles it becomes: its H3 children.")
    def into(self) -> list[strawberry.ID]:
        """The children's ids."""
        return [strawberry.ID(tile_id) for tile_id in self.split.into]

    @strawberry.field(description="The pod that has it and will have them; null while nobody has.")
    def pod(self, info: Info) -> Pod | None:
        """The pod."""
        return load_pods(info, [self.split.pod_id])[0] if self.split.pod_id else None


@strawberry.type(description="A complete set of H3 siblings that a plan replaces by their parent, on the same pod.")
class PlannedMerge:
    """A planned merge."""

    merge: strawberry.Private[FleetMerge]
    load: float = strawberry.field(description="The smoothed load of all of them.")

    @strawberry.field(description="Id of the tile they become.")
    def parent(self) -> strawberry.ID:
        """The parent's id."""
        return strawberry.ID(self.merge.parent)

    @strawberry.field(description="Ids of the tiles that merge.")
    def tile_ids(self) -> list[strawberry.ID]:
        """The siblings' ids."""
        return [strawberry.ID(tile_id) for tile_id in self.merge.tiles]

    @strawberry.field(description="The tiles that merge; without those that are gone by now.")
    def tiles(self, info: Info) -> list[Tile]:
        """The siblings."""
        return [tile for tile in _tiles(info, self.merge.tiles) if tile]

    @strawberry.field(description="The pod that has them and will have it; null while nobody has.")
    def pod(self, info: Info) -> Pod | None:
        """The pod."""
        return load_pods(info, [self.merge.pod_id])[0] if self.merge.pod_id else None


@strawberry.type(description="A tile too hot to stay whole that does not split, with the reason.")
class UnsplitTile:
    """A hot tile."""

    tile_id: strawberry.ID = strawberry.field(description="The tile's id.")
    reason: UnsplitReason = strawberry.field(description="Why it does not split.")


def _tiles(info: Info, tile_ids: tuple[TileId, ...] | list[TileId]) -> list[Tile | None]:
    # Of all tenants, as the fleet is: whoever may see a plan may see its tiles.
    rows = [info.context.services.view.current().tiles.row(tile_id) for tile_id in tile_ids]
    tiles = iter(tiles_of_rows(info, [row for row in rows if row is not None]))
    return [None if row is None else next(tiles) for row in rows]
