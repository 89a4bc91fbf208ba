"""Owns which of many cells have their centre in an area: an area is looked up among cells, and never filled with them.

An edge is a straight line in longitude and latitude, as in filling. Around all that lies in a coarser cell there is a
box; if no edge comes near the box, all of it is on the side on which the coarser cell's centre is. So the work is in
the cells along the outline, however many others there are.
"""

import math
from collections.abc import Iterator
from itertools import chain

import h3.api.basic_int as h3
import numpy as np
from numpy.typing import NDArray

from subgraph.domain.coverage.cells import CellArray, ancestors_of, resolutions_of
from subgraph.domain.coverage.geojson import Path, Polygon, read_polygons

AREA_POSITIONS_MAX = 1_000
"""Most positions of an area to look up: each edge is held against every coarser cell and those along the outline."""

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
    lat_reach, lng_reach = _reaches(groups, lat, lng)
    along_outline = np.flatnonzero(_near_an_outline(area, lat, lng, lat_reach, lng_reach)[group])
    found = _inside(area, lat, lng)[group]
    found[along_outline] = _inside(area, *_centres(cells[along_outline]))
    within: CellArray = cells[found]
    return within


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


def _near_an_outline(area: list[Polygon], lat: Degrees, lng: Degrees, lat_reach: Degrees, lng_reach: Degrees) -> Mask:
    """Which boxes an edge meets: their shadows meet on both axes, and on the line across the edge."""
    near = np.zeros(lat.size, np.bool_)
    for (start_lat, start_lng), (end_lat, end_lng) in chain.from_iterable(map(_edges, area)):
        rise, run = (end_lat - start_lat) / 2, (end_lng - start_lng) / 2
        lat_off = lat - (start_lat + rise)
        for turn in TURNS:
            lng_off = lng + turn - (start_lng + run)
            near |= (
                (np.abs(lat_off) <= lat_reach + abs(rise))
                & (np.abs(lng_off) <= lng_reach + abs(run))
                & (np.abs(lat_off * run - lng_off * rise) <= lat_reach * abs(run) + lng_reach * abs(rise))
            )
    return near


def _inside(area: list[Polygon], lat: Degrees, lng: Degrees) -> Mask:
    by_lat = np.argsort(lat)
    lats, lngs = lat[by_lat], lng[by_lat]
    inside = np.zeros(lat.size, np.bool_)
    for polygon in area:
        for turn in TURNS:
            inside[by_lat] |= _inside_one(polygon, lats, lngs + turn)
    return inside


def _inside_one(polygon: Polygon, lats: Degrees, lngs: Degrees) -> Mask:
    """By how many edges a line to the east of each place crosses: an odd number. Latitudes are in ascending order."""
    odd = np.zeros(lats.size, np.bool_)
    for (start_lat, start_lng), (end_lat, end_lng) in _edges(polygon):
        if start_lat != end_lat:
            first, last = lats.searchsorted((min(start_lat, end_lat), max(start_lat, end_lat)))
            slope = (end_lng - start_lng) / (end_lat - start_lat)
            odd[first:last] ^= lngs[first:last] < start_lng + (lats[first:last] - start_lat) * slope
    return odd


def _edges(polygon: Polygon) -> Iterator[tuple[tuple[float, float], tuple[float, float]]]:
    return ((ring[index - 1], place) for ring in polygon for index, place in enumerate(ring))
