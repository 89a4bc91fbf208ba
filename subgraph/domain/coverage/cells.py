"""Owns the single H3 cell: its text, the cell of a place, and the numbers that put cells in order.

A cell's index holds its resolution (bits 52-55), its base cell and 15 digits of three bits, of which those finer than
its resolution are all 7. Without the resolution's bits the cell is its *key*: the keys of everything inside a cell run
from its *first key* (free digits 0) to its own key, with no other cell's keys in between.
"""

import re
from collections.abc import Iterable, Sequence

import h3.api.basic_int as h3
import numpy as np
from numpy.typing import NDArray

from subgraph.domain.errors import InvalidInput
from subgraph.domain.limits import check_number

COVERAGE_CELLS_MAX = 1_000_000
"""Most cells one coverage may name or fill, unless the caller sets another bound."""

FINEST_RESOLUTION = 15
"""The resolution at which a place is first put into a cell; its tile is that cell's ancestor."""

TEXT_SHOWN_MAX = 32
"""Most characters of a client's text that an error repeats."""

CELL_TEXT = re.compile(r"8[0-9a-fA-F]{14}")
RESOLUTION_SHIFT = 52
RESOLUTION_MASK = 0xF
KEY_MASK = (1 << RESOLUTION_SHIFT) - 1
DIGIT_BITS = 3

CellArray = NDArray[np.int64]


def parse_cells(
    cells: Sequence[str], *, path: tuple[str, ...] = ("coverage", "cells"), cells_max: int = COVERAGE_CELLS_MAX
) -> list[int]:
    """The cells a client names, each once, in the order of their first mention. Capital digits are accepted.

    Raises:
        InvalidInput: there are more than `cells_max`, or one is no H3 cell (an edge and a vertex are none); the path
            then ends in its index.
    """
    if len(cells) > cells_max:
        raise InvalidInput(f"at most {cells_max:,} cells, not {len(cells):,}", path, f"{cells_max} cells")
    return list(dict.fromkeys(parse_cell(text, (*path, str(index))) for index, text in enumerate(cells)))


def parse_cell(text: str, path: tuple[str, ...]) -> int:
    """The cell a client names. Capital digits are accepted.

    Raises:
        InvalidInput: it is no H3 cell; an edge and a vertex are none.
    """
    cell = int(text, 16) if isinstance(text, str) and CELL_TEXT.fullmatch(text) else 0
    if not h3.is_valid_cell(cell):
        raise InvalidInput(f"{str(text)[:TEXT_SHOWN_MAX]!r} is not an H3 cell, such as '85283473fffffff'", path)
    return cell


def finest_cell(lat: float, lng: float, path: tuple[str, ...] = ()) -> int:
    """The cell of a place at the finest resolution, whose ancestors alone say which tile the place belongs to.

    Raises:
        InvalidInput: latitude or longitude is out of range, or not a number.
    """
    check_number("lat", lat, -90, 90, (*path, "lat"))
    check_number("lng", lng, -180, 180, (*path, "lng"))
    return int(h3.latlng_to_cell(lat, lng, FINEST_RESOLUTION))


def finest_cells(lats: Sequence[float], lngs: Sequence[float], path: tuple[str, ...] = ()) -> CellArray:
    """The cells of many places at the finest resolution.

    Raises:
        InvalidInput: the two differ in length, or a place is out of range; the path then ends in its index.
    """
    lat, lng = np.asarray(lats, dtype=np.float64), np.asarray(lngs, dtype=np.float64)
    if lat.shape != lng.shape or lat.ndim != 1:
        raise InvalidInput(f"as many longitudes as latitudes, not {lng.size:,} and {lat.size:,}", path)
    out_of_range = np.flatnonzero(~((np.abs(lat) <= 90) & (np.abs(lng) <= 180)))
    if out_of_range.size:
        first = int(out_of_range[0])
        finest_cell(float(lat[first]), float(lng[first]), (*path, str(first)))
    cell_of = h3.latlng_to_cell
    places = zip(lat.tolist(), lng.tolist(), strict=True)
    return np.fromiter((cell_of(y, x, FINEST_RESOLUTION) for y, x in places), np.int64, lat.size)


def cell_array(cells: Iterable[int]) -> CellArray:
    """Cells as an array. An index has its highest bit clear, so signed numbers hold it."""
    return np.fromiter(cells, np.int64)


def distinct(cells: CellArray) -> CellArray:
    """Each cell once, in ascending order. On a million cells, `np.unique` takes eight times as long."""
    ordered = np.sort(cells)
    is_first = np.ones(ordered.size, dtype=np.bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    return ordered[is_first]


def keys_of(cells: CellArray) -> CellArray:
    """The key of each cell: its place in the order in which cells follow each other, descendants before ancestors."""
    return cells & KEY_MASK


def first_keys_of(cells: CellArray) -> CellArray:
    """The lowest key of anything inside each cell; the highest is the cell's own."""
    free_bits = DIGIT_BITS * (FINEST_RESOLUTION - resolutions_of(cells))
    return keys_of(cells) >> free_bits << free_bits


def resolutions_of(cells: CellArray) -> CellArray:
    """The resolution of each cell."""
    return cells >> RESOLUTION_SHIFT & RESOLUTION_MASK


def ancestors_of(cells: CellArray, resolution: int | CellArray) -> CellArray:
    """The ancestor of each cell at a resolution, one for all or one each, that is no finer than the cell's own."""
    free_digits = (1 << DIGIT_BITS * (FINEST_RESOLUTION - resolution)) - 1
    return cells & ~(RESOLUTION_MASK << RESOLUTION_SHIFT) | resolution << RESOLUTION_SHIFT | free_digits


def is_within(cell: int, ancestor: int) -> bool:
    """Whether a cell is another one or lies inside it."""
    free_bits = DIGIT_BITS * (FINEST_RESOLUTION - (ancestor >> RESOLUTION_SHIFT & RESOLUTION_MASK))
    return ((cell ^ ancestor) & KEY_MASK) >> free_bits == 0
