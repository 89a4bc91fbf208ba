"""Owns the memory of tiles that others replaced: bounded, for whoever still asks for one by its id."""

from collections import OrderedDict
from typing import NamedTuple

from subgraph.domain.ids import TenantId, TileId

RETIRED_MAX = 10_000
"""Tiles remembered; beyond that, those that retired first are forgotten."""


class RetiredTile(NamedTuple):
    """A tile that is gone. Time is Redis time, milliseconds."""

    tenant_id: TenantId
    retired_at_ms: int


class RetiredTiles:
    """Tiles that split or merged, by id."""

    def __init__(self) -> None:
        self._tiles: OrderedDict[TileId, RetiredTile] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tiles)

    def get(self, tile_id: TileId) -> RetiredTile | None:
        """What is remembered of a tile, or None."""
        return self._tiles.get(tile_id)

    def remember(self, tile_id: TileId, tile: RetiredTile) -> None:
        """A tile is gone that others replaced."""
        self._tiles[tile_id] = tile
        self._tiles.move_to_end(tile_id)
        if len(self._tiles) > RETIRED_MAX:
            self._tiles.popitem(last=False)

    def forget(self, tile_id: TileId) -> None:
        """A tile of that id is there again, or was never gone."""
        self._tiles.pop(tile_id, None)
