"""Which cells have their centre in an area, without filling it."""

import h3.api.basic_int as h3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.coverage import cells_of_polygon, cells_within, read_area
from subgraph.domain.coverage.cells import cell_array, distinct
from subgraph.domain.coverage.within import AREA_POSITIONS_MAX, LEVELS_UP, REACH
from subgraph.domain.errors import InvalidInput

Box = tuple[float, float, float, float]
AROUND = distinct(cell_array(h3.grid_disk(h3.latlng_to_cell(52.0, 13.0, 5), 12)))
FINER = [child for cell in AROUND[:20].tolist() for child in h3.cell_to_children(cell, 7)]
MIXED = distinct(cell_array([*AROUND[20:].tolist(), *FINER]))


def area(*boxes: Box) -> dict[str, object]:
    """Of boxes (west, south, east, north) the first is the area, the others are holes."""
    rings = [[[w, s], [e, s], [e, n], [w, n], [w, s]] for w, s, e, n in boxes]
    return {"type": "Polygon", "coordinates": rings}


def centres_in(cells: list[int], box: Box) -> list[int]:
    west, south, east, north = box
    found = []
    for cell in cells:
        lat, lng = h3.cell_to_latlng(cell)
        if south <= lat < north and any(west < lng + turn < east for turn in (0, 360, -360)):
            found.append(cell)
    return found


@pytest.mark.parametrize(
    "box",
    [
        (12.5, 51.5, 13.5, 52.5),
        (12.99, 51.99, 13.01, 52.01),  # smaller than a cell
        (-180, -80, -1, 80),  # beside all of them
        (0, 0, 90, 80),  # around all of them
    ],
)
def test_cells_of_any_resolution_whose_centre_is_in_the_area_are_found(box: Box) -> None:
    assert cells_within(read_area(area(box), ()), MIXED).tolist() == centres_in(MIXED.tolist(), box)


def test_holes_are_left_out_and_polygons_are_put_together() -> None:
    outer, hole, island = (12.0, 51.0, 14.0, 53.0), (12.5, 51.5, 13.5, 52.5), (12.9, 51.9, 13.1, 52.1)
    one, other = area(outer, hole), area(island)
    both = {"type": "GeometryCollection", "geometries": [one, other]}
    inner = set(centres_in(MIXED.tolist(), hole)) - set(centres_in(MIXED.tolist(), island))
    expected = [cell for cell in centres_in(MIXED.tolist(), outer) if cell not in inner]
    assert inner
    assert cells_within(read_area(both, ()), MIXED).tolist() == expected


@pytest.mark.parametrize("box", [(170.0, -20.0, 190.0, 20.0), (-180.0, 60.0, 180.0, 90.0)])
def test_neither_the_antimeridian_nor_a_pole_is_in_the_way(box: Box) -> None:
    west, south, east, north = box
    everywhere = distinct(cell_array(c for base in h3.get_res0_cells() for c in h3.cell_to_children(base, 3)))
    ring = [[(lng + 180) % 360 - 180, lat] for lng, lat in ((west, south), (east, south), (east, north), (west, north))]
    if east - west == 360:
        ring = [[-180, south], [0, south], [180, south], [180, north], [0, north], [-180, north]]
    geo_json = {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}
    found = cells_within(read_area(geo_json, ()), everywhere).tolist()
    assert found == centres_in(everywhere.tolist(), box)
    assert found


@given(st.lists(st.tuples(st.floats(12, 14), st.floats(51, 53)), min_size=3, max_size=8, unique=True))
@settings(max_examples=30)
def test_a_triangle_finds_the_cells_that_it_fills(corners: list[tuple[float, float]]) -> None:
    triangle = [*corners[:3], corners[0]]
    geo_json = {"type": "Polygon", "coordinates": [[list(corner) for corner in triangle]]}
    found = set(cells_within(read_area(geo_json, ()), AROUND).tolist())
    filled = set(cells_of_polygon(geo_json, 5)) & set(AROUND.tolist())
    # A polygon in which no centre lies is filled with what it overlaps, so that a coverage is never empty.
    assert found in (filled, set())


def test_no_finer_cell_has_its_centre_beyond_the_reach_of_a_coarser_one() -> None:
    for cell in h3.get_res0_cells():
        centre = h3.cell_to_latlng(cell)
        corner = max(h3.great_circle_distance(centre, place, "rads") for place in h3.cell_to_boundary(cell))
        inside = map(h3.cell_to_latlng, h3.cell_to_children(cell, LEVELS_UP))
        assert max(h3.great_circle_distance(centre, place, "rads") for place in inside) < REACH * corner


def test_an_area_of_too_many_positions_is_refused_with_the_limit() -> None:
    angles = np.linspace(0, 2 * np.pi, AREA_POSITIONS_MAX + 1)
    ring = [[float(np.cos(angle)), float(np.sin(angle))] for angle in angles[:-1]]
    with pytest.raises(InvalidInput) as refused:
        read_area({"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, ("filter", "within"))
    assert refused.value.path == ("filter", "within", "coordinates")
    assert refused.value.limit == f"{AREA_POSITIONS_MAX} positions"
    assert len(read_area({"type": "Polygon", "coordinates": [[*ring[:-1], ring[0]]]}, ())) == 1


def test_no_cells_are_within_anything() -> None:
    assert not cells_within(read_area(area((0, 0, 1, 1)), ()), cell_array(())).size
