"""Owns the plane geometry of filling: how large a polygon is, and cutting it into pieces that h3 fills fast.

An edge is a straight line in longitude and latitude, as h3 takes it. h3 tests every vertex for every cell of the
bounding box, which for a long and winding outline takes minutes; of small pieces only those near the outline remain.
"""

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from subgraph.domain.coverage.geojson import Polygon, Ring

PIECE_WORK_MAX = 1_000_000
"""Cells of a piece's bounding box times its vertices: some milliseconds of h3."""

PIECE_VERTICES_MIN = 100
"""Below so many vertices the cells alone are the work."""

PIECE_WIDTH_MAX_DEGREES = 90.0
"""Widest piece: well below the 180 degrees at which h3 takes an edge to cross the antimeridian."""

RUN_VERTICES_MAX = 32
"""Most vertices of a stretch of outline that h3 walks along at once."""

HALF_TURN, FULL_TURN = 180.0, 360.0
LAT, LNG = 0, 1


def area_of(ring: Ring) -> float:
    """The area inside a ring, in steradian; what a ring encloses the other way round counts against it."""
    lat, lng = np.radians(np.array([*ring, ring[0]]).T)
    rise = np.diff(lat)
    # The integral of sin(lat) over the longitudes of each edge.
    below = np.diff(lng) * np.sin((lat[:-1] + lat[1:]) / 2) * np.sinc(rise / (2 * math.pi))
    return abs(float(below.sum()))


def length_of(ring: Ring) -> float:
    """The length of a ring, in radians."""
    lat, lng = np.radians(np.array([*ring, ring[0]]).T)
    return float(np.hypot(np.diff(lat), np.diff(lng) * np.cos((lat[:-1] + lat[1:]) / 2)).sum())


def pieces_of(polygon: Polygon, cell_area: float) -> Iterator[Polygon]:
    """Parts of a polygon that together make it up, each within one turn of the world: longitudes from -180 to 180."""
    stack = [polygon]
    while stack:
        piece = stack.pop()
        cut = _cut_of(piece[0], sum(map(len, piece)), cell_area)
        if cut:
            stack += _clipped(piece, *cut, -1), _clipped(piece, *cut, 1)
        else:
            yield [_in_first_turn(ring, piece[0]) for ring in piece]


def runs_of(ring: Ring, cell_area: float) -> Iterator[Ring]:
    """Stretches that together make up a ring, each there and back, so that it encloses nothing."""
    stack = [[*ring, ring[0]]]
    while stack:
        run = stack.pop()
        cut = _cut_of(run, len(run), cell_area)
        if len(run) > 2 and (cut or len(run) > RUN_VERTICES_MAX):
            middle = len(run) // 2
            stack += run[: middle + 1], run[middle:]
        elif cut:
            place = _crossing(run[0], run[1], *cut)
            stack += [run[0], place], [place, run[1]]
        else:
            yield _in_first_turn([*run, *run[-2::-1]], run)


def _cut_of(line: Ring, vertices: int, cell_area: float) -> tuple[int, float] | None:
    """Where to cut what is too large for h3: the axis, and the latitude or longitude. None if it is small enough."""
    south, north = _extent(line, LAT)
    west, east = _extent(line, LNG)
    middle = (west + east) / 2
    if _seam_after(west) < east:
        return LNG, _seam_after(west)
    if east - west > PIECE_WIDTH_MAX_DEGREES:
        return LNG, middle
    area = math.radians(east - west) * (math.sin(math.radians(north)) - math.sin(math.radians(south)))
    if area / cell_area * max(PIECE_VERTICES_MIN, vertices) <= PIECE_WORK_MAX:
        return None
    if (east - west) * math.cos(math.radians((south + north) / 2)) > north - south:
        return LNG, middle
    return LAT, (south + north) / 2


def _extent(ring: Ring, axis: int) -> tuple[float, float]:
    values = [place[axis] for place in ring]
    return min(values), max(values)


def _seam_after(west: float) -> float:
    """The first longitude east of another at which a turn of the world ends."""
    return (math.floor((west + HALF_TURN) / FULL_TURN) + 1) * FULL_TURN - HALF_TURN


def _in_first_turn(line: Ring, reference: Ring) -> Ring:
    """Move a line by whole turns of the world, so that the reference has longitudes from -180 to 180."""
    degrees = HALF_TURN - _seam_after(_extent(reference, LNG)[0])
    return [(lat, lng + degrees) for lat, lng in line] if degrees else line


def _clipped(polygon: Polygon, axis: int, border: float, side: int) -> Polygon:
    """What lies on one side of a border that runs through the outer ring. Holes that do not reach there are dropped."""
    clipped = []
    for ring in polygon:
        if any((place[axis] - border) * side > 0 for place in ring):
            kept: Ring = []
            for start, end in pairwise([*ring, ring[0]]):
                starts_inside = (start[axis] - border) * side >= 0
                if starts_inside:
                    kept.append(start)
                if starts_inside != ((end[axis] - border) * side >= 0):
                    kept.append(_crossing(start, end, axis, border))
            clipped.append(kept)
    return clipped


def _crossing(start: tuple[float, float], end: tuple[float, float], axis: int, border: float) -> tuple[float, float]:
    share = (border - start[axis]) / (end[axis] - start[axis])
    if axis == LAT:
        return border, start[LNG] + share * (end[LNG] - start[LNG])
    return start[LAT] + share * (end[LAT] - start[LAT]), border
