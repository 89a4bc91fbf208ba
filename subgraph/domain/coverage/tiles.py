"""Owns a session's coverage: a set of cells of which none contains another, how more are added and some taken away."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import h3.api.basic_int as h3
import numpy as np

from subgraph.domain.coverage.cells import (
    FINEST_RESOLUTION,
    KEY_MASK,
    CellArray,
    cell_array,
    distinct,
    finest_cell,
    finest_cells,
    first_keys_of,
    is_within,
    keys_of,
    resolutions_of,
)
from subgraph.domain.errors import InvalidInput

TILES_PER_SESSION_MAX = 1_000_000

NO_TILE = 0
"""Stands for "no tile" in arrays of cells: no cell has index 0."""

Flags: TypeAlias = np.ndarray[tuple[int], np.dtype[np.bool]]


class Coverage:
    """The cells of a session's tiles. Every place lies in at most one of them.

    Cells are kept in the order of their keys. A tile's key ends the run of keys inside it, and runs do not overlap, so
    the tile of a cell is the first one whose key is not below the cell's, or there is none.
    """

    __slots__ = ("_cells", "_keys")

    def __init__(self, cells: Iterable[int] = ()) -> None:
        self._cells = self._keys = cell_array(())
        self.add(cells)

    def __len__(self) -> int:
        return int(self._cells.size)

    def __iter__(self) -> Iterator[int]:
        return iter(self._cells.tolist())

    def __contains__(self, cell: int) -> bool:
        return self.tile_of(cell) == cell

    def add(self, cells: Iterable[int]) -> None:
        """Add tiles; those already there are ignored. Remove what a split or merge replaces first.

        Raises:
            ValueError: a tile would lie inside another. `resolve_overlaps` tells beforehand, and kindly.
        """
        merged = distinct(np.concatenate((self._cells, cell_array(cells))))
        merged = merged[np.argsort(keys_of(merged))]
        keys = keys_of(merged)
        overlaps = np.flatnonzero(first_keys_of(merged)[1:] <= keys[:-1])
        if overlaps.size:
            inner, outer = merged[overlaps[0] : overlaps[0] + 2].tolist()
            raise ValueError(f"tile {h3.int_to_str(inner)} lies inside tile {h3.int_to_str(outer)}")
        self._cells, self._keys = merged, keys

    def remove(self, cells: Iterable[int]) -> None:
        """Remove tiles; those that are not there are ignored."""
        kept = ~np.isin(self._cells, cell_array(cells))
        self._cells, self._keys = self._cells[kept], self._keys[kept]

    def tile_of(self, cell: int) -> int | None:
        """The tile that is the cell or an ancestor of it."""
        index = int(self._keys.searchsorted(cell & KEY_MASK))
        if index == self._keys.size:
            return None
        tile = int(self._cells[index])
        return tile if is_within(cell, tile) else None

    def tiles_of(self, cells: CellArray) -> CellArray:
        """The tile of each cell, `NO_TILE` where it has none."""
        if not self._cells.size:
            return np.full(cells.shape, NO_TILE, dtype=np.int64)
        keys = keys_of(cells)
        tiles = self._cells[np.minimum(self._keys.searchsorted(keys), self._cells.size - 1)]
        inside = (first_keys_of(tiles) <= keys) & (keys <= keys_of(tiles))
        return np.where(inside, tiles, NO_TILE)

    def tile_at(self, lat: float, lng: float, path: tuple[str, ...] = ()) -> int | None:
        """The tile of a place: the ancestor of its finest cell.

        It is not the cell of the coordinates at the tile's resolution: hexagons do not nest exactly, and the two differ
        for about 7 % of places.

        Raises:
            InvalidInput: latitude or longitude is out of range.
        """
        return self.tile_of(finest_cell(lat, lng, path))

    def tiles_at(self, lats: Sequence[float], lngs: Sequence[float], path: tuple[str, ...] = ()) -> CellArray:
        """The tiles of many places, `NO_TILE` where there is none: what `tile_at` says, for a router's batches.

        Raises:
            InvalidInput: the two differ in length, or a place is out of range; the path then ends in its index.
        """
        return self.tiles_of(finest_cells(lats, lngs, path))

    def covers(self, cell: int) -> bool:
        """Whether all of a cell belongs to one tile: the cell itself or an ancestor of it."""
        return self.tile_of(cell) is not None

    def has_descendant_of(self, cell: int) -> bool:
        """Whether a tile lies strictly inside the cell."""
        return bool(self.descendants_of(cell_array((cell,)))[0] != NO_TILE)

    def descendants_of(self, cells: CellArray) -> CellArray:
        """A tile strictly inside each cell, `NO_TILE` where there is none."""
        if not self._cells.size:
            return np.full(cells.shape, NO_TILE, dtype=np.int64)
        tiles = self._cells[np.minimum(self._keys.searchsorted(first_keys_of(cells)), self._cells.size - 1)]
        inside = (first_keys_of(cells) <= keys_of(tiles)) & (keys_of(tiles) < keys_of(cells))
        return np.where(inside, tiles, NO_TILE)

    def touches(self, cells: CellArray) -> Flags:
        """Whether each cell has a tile, or some inside it."""
        touched: Flags = (self.tiles_of(cells) != NO_TILE) | (self.descendants_of(cells) != NO_TILE)
        return touched

    def tiles_within(self, cell: int) -> list[int]:
        """The tiles that are the cell or lie inside it, in the order of their keys."""
        first = int(self._keys.searchsorted(first_keys_of(cell_array((cell,)))[0]))
        tiles: list[int] = self._cells[first : int(self._keys.searchsorted(cell & KEY_MASK, side="right"))].tolist()
        return tiles

    def fills(self, cell: int) -> bool:
        """Whether all of a cell belongs to tiles inside it, as after a split."""
        return sum(map(_size, self.tiles_within(cell))) == _size(cell)

    def tiles_per_resolution(self) -> dict[int, int]:
        """How many tiles there are of each resolution present."""
        counts = np.bincount(resolutions_of(self._cells), minlength=1).tolist()
        return {resolution: count for resolution, count in enumerate(counts) if count}


@dataclass(frozen=True, slots=True)
class CoverageChange:
    """What covering more cells comes to.

    `added` become tiles. `covered` need none: an existing tile, or another of the added, is the cell itself or an
    ancestor of it, or existing tiles inside it leave nothing of it. `covering` are those existing tiles; with `added`
    they are all tiles that cover what was asked for.
    """

    added: tuple[int, ...]
    covered: tuple[int, ...]
    covering: tuple[int, ...]


def resolve_overlaps(existing: Coverage, new: Sequence[int], path: tuple[str, ...] = ("coverage",)) -> CoverageChange:
    """Add cells to a coverage so that every place stays covered once. Of nested new cells the largest wins.

    Raises:
        InvalidInput: existing tiles lie inside a new cell and leave a part of it; one of them is named.
    """
    cells = cell_array(dict.fromkeys(new))
    tiles = existing.tiles_of(cells)
    covering = dict.fromkeys(tiles[tiles != NO_TILE].tolist())
    is_added = (tiles == NO_TILE) & ~_inside_another(cells)
    inner_tiles = existing.descendants_of(cells)
    for index in np.flatnonzero(is_added & (inner_tiles != NO_TILE)).tolist():
        cell, tile = int(cells[index]), int(inner_tiles[index])
        if not existing.fills(cell):
            raise InvalidInput(
                f"cell {h3.int_to_str(cell)} contains tile {h3.int_to_str(tile)} of this session, which does not cover "
                "all of it: merge or unregister the tiles inside it first",
                path,
            )
        is_added[index] = False
        covering.update(dict.fromkeys(existing.tiles_within(cell)))
    added = cells[is_added]
    return CoverageChange(tuple(added.tolist()), tuple(cells[~is_added].tolist()), tuple(covering))


def cells_without(cells: CellArray, gone: Coverage) -> CellArray:
    """What is left of cells when others are taken away; of a cell that contains some, the fewest cells of the rest."""
    kept = cells[gone.tiles_of(cells) == NO_TILE]
    is_whole = gone.descendants_of(kept) == NO_TILE
    rests = [cells_without(cell_array(h3.cell_to_children(cell)), gone) for cell in kept[~is_whole].tolist()]
    return np.concatenate([kept[is_whole], *rests])


def _size(cell: int) -> int:
    """How many cells of the finest resolution make up a cell; disjoint cells fill another if their sizes add up."""
    return int(h3.cell_to_children_size(cell, FINEST_RESOLUTION))


def _inside_another(cells: CellArray) -> Flags:
    """Which of distinct cells have an ancestor among them."""
    order = np.lexsort((resolutions_of(cells), first_keys_of(cells)))
    last_keys = keys_of(cells)[order]
    inside = np.zeros(cells.size, dtype=np.bool)
    inside[order[1:]] = last_keys[1:] <= np.maximum.accumulate(last_keys)[:-1]
    return inside
