"""Owns which of many cells have their centre in an area: an area is looked up among cells, and never filled with them.

An edge is a straight line in longitude and latitude, as in filling. Around all that lies in a coarser cell there is a
box; if no edge comes near the box, all of it is on the side on which the coarser cell's centre is. So the work is in
the cells along the outline, however many others there are.
"""

import math
from itertools import chain

import h3.api.basic_int as h3
import numpy as np
import shapely
from numpy.typing import NDArray

from subgraph.domain.coverage.cells import CellArray, ancestors_of, resolutions_of
from subgraph.domain.coverage.geojson import Path, Polygon, read_polygons

AREA_POSITIONS_MAX = 1_000
"""Most positions of an area to look up; every edge of each polygon is held against the cells."""

LEVELS_UP = 3
"""Of a contiguous coverage, 343 cells are in one coarser cell."""

REACH = 1.1
"""No cell has the centre of one three levels finer farther from its own than this many times its farthest corner: 1.00
at resolutions 0 and 1, where the sphere distorts most."""

TURNS = (0.0, 360.0, -360.0)
"""Longitudes of areas run on beyond 180 degrees where they cross the antimeridian."""

Degrees = NDArray[np.float64]
Mask = NDArray[np.bool_]


def read_area(geo_json: object, path: Path) -> list[Polygon]:
    """An area that a client gives to look up tiles by.

    Raises:
        InvalidInput: as `read_polygons` says, or it has more than `AREA_POSITIONS_MAX` positions.
    """
    return read_polygons(geo_json, path, AREA_POSITIONS_MAX)


def cells_within(area: list[Polygon], cells: CellArray) -> CellArray:
    """Those of the cells, of any resolutions, whose centre lies in one of the polygons; in their order."""
    coarser = ancestors_of(cells, np.maximum(resolutions_of(cells) - LEVELS_UP, 0))
    # Cells come in order, so those of a coarser one follow each other; one that came twice would be looked at twice.
    is_first = np.diff(coarser, prepend=-1) != 0
    groups, group = coarser[is_first], np.cumsum(is_first) - 1
    lat, lng = _centres(groups)
    shapes = [_shape(polygon, turn) for polygon in area for turn in TURNS]
    along_outline = np.flatnonzero(_near_an_outline(shapes, lat, lng, *_reaches(groups, lat, lng))[group])
    found = _inside(shapes, lat, lng)[group]
    found[along_outline] = _inside(shapes, *_centres(cells[along_outline]))
    within: CellArray = cells[found]
    return within


def _shape(polygon: Polygon, turn: float) -> shapely.Polygon:
    outer, *holes = ([(lng + turn, lat) for lat, lng in ring] for ring in polygon)
    shape = shapely.Polygon(outer, holes)
    shapely.prepare(shape)
    return shape


def _centres(cells: CellArray) -> tuple[Degrees, Degrees]:
    places = np.fromiter(chain.from_iterable(map(h3.cell_to_latlng, cells.tolist())), np.float64, 2 * cells.size)
    return places[::2], places[1::2]


def _reaches(groups: CellArray, lat: Degrees, lng: Degrees) -> tuple[Degrees, Degrees]:
    """How far around a cell's centre all that lies in it may be, in degrees of latitude and of longitude."""
    centres = zip(groups.tolist(), lat.tolist(), lng.tolist(), strict=True)
    radii = (
        max(h3.great_circle_distance((y, x), corner, "rads") for corner in h3.cell_to_boundary(cell))
        for cell, y, x in centres
    )
    reach = np.fromiter(radii, np.float64, groups.size) * REACH
    # A circle on the sphere is at its widest a little poleward of its centre; one round a pole has all longitudes.
    is_round_pole = np.abs(np.radians(lat)) + reach >= math.pi / 2
    width = np.divide(np.sin(reach), np.cos(np.radians(lat)), out=np.ones(reach.size), where=~is_round_pole)
    return np.degrees(reach), np.where(is_round_pole, 360.0, np.degrees(np.arcsin(width)))


def _near_an_outline(
    shapes: list[shapely.Polygon], lat: Degrees, lng: Degrees, lat_reach: Degrees, lng_reach: Degrees
) -> Mask:
    boxes = shapely.box(lng - lng_reach, lat - lat_reach, lng + lng_reach, lat + lat_reach)
    near = np.zeros(lat.size, np.bool_)
    for shape in shapes:
        outline = shape.boundary
        shapely.prepare(outline)
        near |= shapely.intersects(outline, boxes)
    return near


def _inside(shapes: list[shapely.Polygon], lat: Degrees, lng: Degrees) -> Mask:
    inside = np.zeros(lat.size, np.bool_)
    for shape in shapes:
        inside |= shapely.contains_xy(shape, lng, lat)
    return inside
