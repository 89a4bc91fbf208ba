"""Owns reading areas from GeoJSON: every fault is named with its place, and the result is rings of finite places."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from subgraph.domain.coverage.cells import TEXT_SHOWN_MAX
from subgraph.domain.errors import InvalidInput

VERTICES_MAX = 50_000
"""Most positions of one GeoJSON object, unless the caller sets another bound."""

POLYGONS_MAX = 2_000
"""Most polygons of one GeoJSON object."""

DEPTH_MAX = 8
"""Deepest nesting of collections and features."""

RING_POSITIONS_MIN = 4
POSITION_NUMBERS_MAX = 4
AREA_TYPES = "Polygon, MultiPolygon, Feature, FeatureCollection or GeometryCollection"

Ring = list[tuple[float, float]]
"""Places as (lat, lng), closed by the edge from the last to the first. Longitudes run on beyond 180 where an edge
crosses the antimeridian, so that no edge jumps."""

Polygon = list[Ring]
"""An outer ring, and the holes in it."""

Path = tuple[str, ...]


def read_polygons(geo_json: object, path: Path, vertices_max: int = VERTICES_MAX) -> list[Polygon]:
    """The polygons of a GeoJSON object, at least one.

    An edge of more than 180 degrees of longitude goes the short way, across the antimeridian; one of exactly 360 goes
    round the world. A ring round a pole must be cut at the antimeridian and led along the pole, as RFC 7946 asks.

    Raises:
        InvalidInput: it is malformed, without an area, or beyond a limit; the path leads to the fault.
    """
    polygons: list[Polygon] = []
    vertices = 0
    for coordinates, place in _polygon_coordinates(geo_json, path, 1):
        if len(polygons) == POLYGONS_MAX:
            raise InvalidInput(f"at most {POLYGONS_MAX:,} polygons", place, f"{POLYGONS_MAX} polygons")
        rings = _items(coordinates, place, "a polygon is a list of rings")
        polygon: Polygon = []
        for index, ring in enumerate(rings):
            positions = _items(ring, (*place, str(index)), "a ring is a list of positions")
            vertices += len(positions)
            if vertices > vertices_max:
                raise InvalidInput(f"at most {vertices_max:,} positions", place, f"{vertices_max} positions")
            polygon.append(_read_ring(positions, (*place, str(index))))
        polygons.append(_with_holes_beside_outer(polygon))
    if not polygons:
        raise InvalidInput("there is no polygon in it", path)
    return polygons


def _polygon_coordinates(value: object, path: Path, depth: int) -> Iterator[tuple[object, Path]]:
    if depth > DEPTH_MAX:
        raise InvalidInput(f"nested deeper than {DEPTH_MAX} levels", path, f"{DEPTH_MAX} levels")
    if not isinstance(value, Mapping):
        raise InvalidInput(f"expected a GeoJSON object: {AREA_TYPES}", path)
    match value.get("type"):
        case "Polygon":
            yield value.get("coordinates"), (*path, "coordinates")
        case "MultiPolygon":
            place = (*path, "coordinates")
            parts = _items(value.get("coordinates"), place, "a MultiPolygon is a list of polygons")
            yield from ((part, (*place, str(index))) for index, part in enumerate(parts))
        case "Feature":
            yield from _polygon_coordinates(value.get("geometry"), (*path, "geometry"), depth + 1)
        case "FeatureCollection" | "GeometryCollection" as kind:
            name = "features" if kind == "FeatureCollection" else "geometries"
            members = _items(value.get(name), (*path, name), f"a {kind} has a list of {name}")
            for index, member in enumerate(members):
                yield from _polygon_coordinates(member, (*path, name, str(index)), depth + 1)
        case other:
            shown = str(other)[:TEXT_SHOWN_MAX] if isinstance(other, str) else type(other).__name__
            raise InvalidInput(f"type {shown!r} is no area: expected {AREA_TYPES}", (*path, "type"))


def _items(value: object, path: Path, expected: str) -> Sequence[object]:
    if not isinstance(value, list | tuple):
        raise InvalidInput(f"{expected}, not {type(value).__name__}", path)
    if not value:
        raise InvalidInput(f"{expected}, and this one is empty", path)
    return value


def _read_ring(positions: Sequence[object], path: Path) -> Ring:
    if len(positions) < RING_POSITIONS_MIN:
        raise InvalidInput(
            f"a ring has at least {RING_POSITIONS_MIN} positions, not {len(positions)}",
            path,
            f"{RING_POSITIONS_MIN} positions",
        )
    places = [_read_position(position, path, index) for index, position in enumerate(positions)]
    if places[0] != places[-1]:
        raise InvalidInput("a ring is closed: its last position equals its first", path)
    ring: Ring = []
    turned = 0.0
    for (_, before), (lat, lng) in pairwise([places[-1], *places]):
        if 180 < abs(lng - before) < 360:
            turned += 360 if before > lng else -360
        ring.append((lat, lng + turned))
    if turned:
        raise InvalidInput(
            "the ring goes round a pole or the world: cut it at the antimeridian, and lead it along the pole", path
        )
    return ring[:-1]


def _read_position(position: object, path: Path, index: int) -> tuple[float, float]:
    if not isinstance(position, list | tuple) or not 2 <= len(position) <= POSITION_NUMBERS_MAX:
        raise InvalidInput("a position is a list of longitude and latitude", (*path, str(index)))
    lng, lat = position[:2]
    if not _within(lng, 180):
        raise InvalidInput("a longitude is a number from -180 to 180", (*path, str(index), "0"), "180")
    if not _within(lat, 90):
        raise InvalidInput("a latitude is a number from -90 to 90", (*path, str(index), "1"), "90")
    return float(lat), float(lng)


def _within(number: object, bound: int) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and -bound <= number <= bound


def _with_holes_beside_outer(polygon: Polygon) -> Polygon:
    """Bring each hole to the turn of the world on which the outer ring runs."""
    outer, *holes = polygon
    west = min(lng for _, lng in outer)
    east = max(lng for _, lng in outer)
    moved = [outer]
    for hole in holes:
        hole_west, hole_east = min(lng for _, lng in hole), max(lng for _, lng in hole)
        turns = (turn for turn in (0, 360, -360) if hole_west + turn <= east and hole_east + turn >= west)
        shift = next(turns, 0)
        moved.append([(lat, lng + shift) for lat, lng in hole])
    return moved
