"""Owns filling areas with cells: how many there may be, and which cells those are."""

import math
from collections.abc import Iterator

import h3.api.numpy_int as h3
import numpy as np

from subgraph.domain.coverage.cells import COVERAGE_CELLS_MAX, FINEST_RESOLUTION, CellArray, cell_array, distinct
from subgraph.domain.coverage.geojson import Path, Polygon, Ring, read_polygons
from subgraph.domain.coverage.pieces import area_of, length_of, pieces_of, runs_of
from subgraph.domain.errors import InvalidInput

OUTLINE_CELLS_MAX = 100_000
"""Most cells an outline may cross: what an area costs beside its cells, about 20 µs each."""

CELL_AREA_SPREAD = 1.21
"""The largest cell of a resolution is this many times the mean: the area of n mean cells has at least n / 1.21."""


def cells_of_polygon(
    geo_json: object,
    resolution: int | None,
    *,
    cells_max: int = COVERAGE_CELLS_MAX,
    path: Path = ("coverage",),
) -> list[int]:
    """The cells at a resolution whose centre lies in a GeoJSON area, each once, in ascending order.

    Polygons that share a border thus share no cell. A polygon in which no centre lies, being small or thin, has all
    cells it overlaps. An area that is certain to have too many cells is refused before any is made (parts that overlap
    count each); the others stop as soon as they have. `read_polygons` says what becomes of antimeridian and poles.

    Raises:
        InvalidInput: the GeoJSON is malformed (at `path` + `geoJson`), the resolution is missing or out of range (at
            `path` + `resolution`), or there would be more than `cells_max` cells or too long an outline.
    """
    if resolution is None or not 0 <= resolution <= FINEST_RESOLUTION:
        given = "" if resolution is None else f", not {resolution}"
        raise InvalidInput(
            f"a polygon needs a resolution from 0 to {FINEST_RESOLUTION}{given}",
            (*path, "resolution"),
            str(FINEST_RESOLUTION),
        )
    place = (*path, "geoJson")
    polygons = read_polygons(geo_json, place)
    cell_area = 4 * math.pi / h3.get_num_cells(resolution)
    _check_size(polygons, resolution, cell_area, cells_max, place)
    found = [cell_array(())]
    count = 0
    for polygon in polygons:
        for part in _cells_of(polygon, resolution, cell_area):
            found.append(part)
            count += part.size
            # Overlapping polygons repeat cells; counting the distinct ones every time would take its time.
            if count > 2 * cells_max:
                found = [_distinct(found, cells_max, place)]
                count = found[0].size
    cells: list[int] = _distinct(found, cells_max, place).tolist()
    return cells


def _cells_of(polygon: Polygon, resolution: int, cell_area: float) -> Iterator[CellArray]:
    empty = True
    for piece in pieces_of(polygon, cell_area):
        cells = _filled(piece, resolution, "center")
        empty = empty and not cells.size
        yield cells
    if empty:
        # No cell lies inside as a whole, so every cell it overlaps is on its outline.
        for ring in polygon:
            yield cell_array(h3.latlng_to_cell(lat, lng, resolution) for lat, lng in ring)
            for run in runs_of(ring, cell_area):
                yield _filled([run], resolution, "overlap")


def _filled(rings: list[Ring], resolution: int, contain: str) -> CellArray:
    # The plain `polygon_to_cells` allocates the whole bounding box and is up to four times slower.
    cells = h3.h3shape_to_cells_experimental(h3.LatLngPoly(*rings), resolution, contain)
    return np.asarray(cells, dtype=np.int64)


def _check_size(polygons: list[Polygon], resolution: int, cell_area: float, cells_max: int, path: Path) -> None:
    area = sum(max(0.0, area_of(outer) - sum(map(area_of, holes))) for outer, *holes in polygons)
    estimate = area / cell_area
    if estimate / CELL_AREA_SPREAD > cells_max:
        raise _too_many(f"would have about {estimate:,.0f} cells at resolution {resolution}", cells_max, path)
    # A line of random direction crosses perimeter / (pi * area) cells per length: 6 edges around 1.5 * sqrt(3) edge².
    edge = math.sqrt(cell_area / (1.5 * math.sqrt(3)))
    crossed = sum(length_of(ring) for polygon in polygons for ring in polygon) * 6 * edge / (math.pi * cell_area)
    if crossed > OUTLINE_CELLS_MAX:
        raise InvalidInput(
            f"the outline would cross about {crossed:,.0f} cells at resolution {resolution}, of at most "
            f"{OUTLINE_CELLS_MAX:,}: simplify it, choose a coarser resolution or name the cells",
            path,
            f"{OUTLINE_CELLS_MAX} cells",
        )


def _distinct(found: list[CellArray], cells_max: int, path: Path) -> CellArray:
    cells = distinct(np.concatenate(found))
    if cells.size > cells_max:
        raise _too_many(f"has at least {cells.size:,} cells", cells_max, path)
    return cells


def _too_many(fact: str, cells_max: int, path: Path) -> InvalidInput:
    return InvalidInput(
        f"the area {fact}, of at most {cells_max:,}: choose a coarser resolution or a smaller area",
        path,
        f"{cells_max} cells",
    )
