"""Owns a sink as one sentence: it takes what comes at the highest epoch seen for the tile, or a higher one."""

from collections.abc import Iterable

from subgraph.domain.ids import TileId


class ModelSink:
    """Where the records of all tiles arrive."""

    def __init__(self) -> None:
        self.highest: dict[TileId, int] = {}

    def raise_epochs(self, tiles: Iterable[TileId], epoch: int) -> None:
        """Shut out lower epochs of all of these tiles."""
        for tile in tiles:
            self.highest[tile] = max(epoch, self.highest.get(tile, 0))

    def takes(self, tile: TileId, epoch: int) -> bool:
        """Whether a record of that tile and epoch would be accepted now."""
        return epoch >= self.highest.get(tile, 0)
