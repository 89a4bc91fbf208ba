"""Areas from GeoJSON: which cells fill them, how many are too many, and what is said of a malformed one."""

import math
from collections.abc import Sequence
from typing import Any

import h3.api.basic_int as h3
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.coverage import cells_of_polygon, fill, geojson
from subgraph.domain.errors import InvalidInput

WORLD = (-180, -90, 180, 90)


def polygon(*rings: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """A GeoJSON polygon of open rings of (lng, lat)."""
    return {"type": "Polygon", "coordinates": [[list(place) for place in (*ring, ring[0])] for ring in rings]}


def corners(west: float, south: float, east: float, north: float) -> list[tuple[float, float]]:
    return [(west, south), (east, south), (east, north), (west, north)]


def box(west: float, south: float, east: float, north: float) -> dict[str, Any]:
    return polygon(corners(west, south, east, north))


def centres_in(resolution: int, west: float, south: float, east: float, north: float) -> list[int]:
    """All cells whose centre lies in a box, found by looking at every cell there is."""
    everywhere = (cell for base in h3.get_res0_cells() for cell in h3.cell_to_children(base, resolution))
    inside = []
    for cell in everywhere:
        lat, lng = h3.cell_to_latlng(cell)
        if south < lat < north and (west < lng < east or west < lng + 360 < east):
            inside.append(cell)
    return sorted(inside)


# Which cells.


@pytest.mark.parametrize(
    ("bounds", "resolution"),
    [
        (WORLD, 2),
        ((-10, 40, 15, 55), 3),
        ((-170, -80, 175, 80), 2),
        ((-180, -90, 180, -60), 3),  # round the pole, as RFC 7946 cuts it
        ((0, 80, 90, 90), 3),
    ],
)
def test_an_area_has_the_cells_whose_centre_it_contains(bounds: tuple[float, ...], resolution: int) -> None:
    west, south, east, north = bounds
    steps = [west + (east - west) * step / 4 for step in range(5)]
    ring = [(lng, south) for lng in steps] + [(lng, north) for lng in reversed(steps)]
    assert cells_of_polygon(polygon(ring), resolution) == centres_in(resolution, west, south, east, north)


def test_the_world_is_a_box_from_180_west_to_180_east() -> None:
    assert len(cells_of_polygon(box(*WORLD), 3)) == h3.get_num_cells(3)


@pytest.mark.parametrize(("west", "east"), [(170, -170), (100, -90), (175, -179.5)])
def test_an_edge_of_more_than_180_degrees_goes_the_short_way_across_the_antimeridian(west: float, east: float) -> None:
    assert cells_of_polygon(box(west, -20, east, 20), 3) == centres_in(3, west, -20, east + 360, 20)


def test_an_area_across_both_the_antimeridian_and_greenwich_is_filled() -> None:
    ring = [(lng, lat) for lat, way in ((-5, 1), (5, -1)) for lng in (100, 170, -170, -80, 20)[::way]]
    assert cells_of_polygon(polygon(ring), 3) == centres_in(3, 100, -5, 380, 5)


def test_a_hole_is_left_out_on_either_side_of_the_antimeridian() -> None:
    outer = corners(170, -10, -170, 10)
    holed = cells_of_polygon(polygon(outer, corners(-179, -5, -175, 5), corners(172, -5, 178, 5)), 3)
    holes = centres_in(3, 181, -5, 185, 5) + centres_in(3, 172, -5, 178, 5)
    assert holes
    assert holed == sorted(set(cells_of_polygon(polygon(outer), 3)) - set(holes))


def test_a_hole_that_is_filled_again_leaves_nothing_out() -> None:
    hole = corners(2, 2, 8, 8)
    island = polygon(hole)["coordinates"]
    holed = polygon(corners(0, 0, 10, 10), hole)["coordinates"]
    both = cells_of_polygon({"type": "MultiPolygon", "coordinates": [holed, island]}, 4)
    assert both == cells_of_polygon(box(0, 0, 10, 10), 4)


def test_areas_that_share_a_border_share_no_cell_and_omit_none() -> None:
    left, right = (cells_of_polygon(box(west, 0, west + 5, 10), 4) for west in (0, 5))
    assert sorted(left + right) == cells_of_polygon(box(0, 0, 10, 10), 4)


def test_features_and_collections_are_the_areas_in_them_each_cell_once() -> None:
    feature = {"type": "Feature", "properties": {"name": "a"}, "geometry": box(0, 0, 5, 5)}
    geometries = {"type": "GeometryCollection", "geometries": [box(3, 3, 8, 8), feature["geometry"]]}
    collection = {"type": "FeatureCollection", "features": [feature, {"type": "Feature", "geometry": geometries}]}
    apart = {cell for bounds in ((0, 0, 5, 5), (3, 3, 8, 8)) for cell in cells_of_polygon(box(*bounds), 4)}
    assert cells_of_polygon(collection, 4) == sorted(apart)


@pytest.mark.parametrize("turns", [1, 3])
def test_a_long_and_winding_outline_is_filled_as_h3_fills_it_whole(turns: int) -> None:
    """Cutting it in pieces, which is what makes it fast, changes no cell."""
    angles = [2 * math.pi * step / 400 for step in range(400)]
    ring = [
        (20 + (9 + 3 * math.sin(17 * a)) * math.cos(turns * a), 40 + (9 + 3 * math.sin(17 * a)) * math.sin(turns * a))
        for a in angles
    ]
    hole = [(20 + math.cos(a), 40 + math.sin(a)) for a in angles[::-1]]
    whole = h3.h3shape_to_cells_experimental(h3.geo_to_h3shape(polygon(ring, hole)), 6, "center")
    assert len(whole) > 10_000
    assert cells_of_polygon(polygon(ring, hole), 6) == sorted(whole)


def test_an_area_smaller_than_a_cell_has_the_cell_it_lies_in() -> None:
    lat, lng = h3.cell_to_latlng(h3.latlng_to_cell(48, 11, 10))
    off_centre = lng + 1e-5
    assert h3.latlng_to_cell(lat, off_centre, 5) != 0
    tiny = box(off_centre, lat, off_centre + 1e-6, lat + 1e-6)
    assert cells_of_polygon(tiny, 5) == [h3.latlng_to_cell(lat, lng, 5)]


def test_an_area_too_thin_for_any_centre_has_all_cells_it_overlaps() -> None:
    thin = polygon([(0, 50), (12, 51), (12, 51.000001), (0, 50.000001)])
    along = {h3.latlng_to_cell(50 + step / 20_000, 12 * step / 20_000, 5) for step in range(20_000)}
    found = set(cells_of_polygon(thin, 5))
    assert found >= along
    assert all(set(h3.grid_disk(cell, 1)) & along for cell in found)


def test_a_thin_area_is_followed_round_the_world() -> None:
    thin = polygon([(-180, 10), (180, 10), (0, 10.0000001)])
    found = set(cells_of_polygon(thin, 3))
    assert found >= {h3.latlng_to_cell(10, step / 10, 3) for step in range(-1800, 1800)}
    assert all(8 < h3.cell_to_latlng(cell)[0] < 12 for cell in found)


@settings(deadline=None, max_examples=50)
@given(st.floats(-90, 90), st.floats(-180, 180), st.integers(0, 15))
def test_an_area_without_extent_has_the_cell_of_its_place(lat: float, lng: float, resolution: int) -> None:
    point = {"type": "Polygon", "coordinates": [[[lng, lat]] * 4]}
    assert h3.latlng_to_cell(lat, lng, resolution) in cells_of_polygon(point, resolution)


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=3, max_size=12, unique=True),
    st.integers(0, 3),
)
def test_any_outline_crossing_itself_or_not_is_filled_as_h3_fills_it_whole(
    ring: list[tuple[float, float]], resolution: int
) -> None:
    whole = h3.h3shape_to_cells_experimental(h3.geo_to_h3shape(polygon(ring)), resolution, "center")
    found = cells_of_polygon(polygon(ring), resolution)
    assert found
    assert not whole or found == sorted(whole)


# How many.


def test_a_polygon_of_too_many_cells_is_refused_before_any_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fill, "_filled", lambda *_: pytest.fail("cells were made"))
    with pytest.raises(InvalidInput) as refused:
        cells_of_polygon(box(0, 0, 10, 10), 9)
    assert refused.value.path == ("coverage", "geoJson")
    assert refused.value.limit == "1000000 cells"
    assert "about 11,678,884 cells at resolution 9, of at most 1,000,000" in refused.value.message


def test_the_exact_count_decides_near_the_limit() -> None:
    area = box(0, 0, 10, 10)
    count = len(cells_of_polygon(area, 5))
    assert len(cells_of_polygon(area, 5, cells_max=count)) == count
    with pytest.raises(InvalidInput) as refused:
        cells_of_polygon(area, 5, cells_max=count - 1)
    assert f"at least {count:,} cells, of at most {count - 1:,}" in refused.value.message


def test_an_outline_that_crosses_itself_hides_no_cells_from_the_limit() -> None:
    """Its two halves turn opposite ways, so that their areas cancel."""
    bow_tie = polygon([(0, 0), (20, 20), (20, 0), (0, 20)])
    with pytest.raises(InvalidInput, match="has at least"):
        cells_of_polygon(bow_tie, 6, cells_max=20_000)


def test_areas_that_overlap_count_once_in_the_end() -> None:
    part = box(0, 0, 3, 3)["coordinates"]
    count = len(cells_of_polygon(box(0, 0, 3, 3), 5))
    twice = {"type": "MultiPolygon", "coordinates": [part, part]}
    assert len(cells_of_polygon(twice, 5, cells_max=2 * count)) == count


def test_an_outline_too_long_for_the_resolution_is_refused() -> None:
    comb = [(lng, lat) for step in range(500) for lng, lat in ((0, step / 1000), (10, (step + 0.5) / 1000))]
    with pytest.raises(InvalidInput, match="outline would cross about") as refused:
        cells_of_polygon(polygon(comb), 9, cells_max=10_000_000)
    assert refused.value.limit == "100000 cells"


@pytest.mark.parametrize("resolution", [None, -1, 16])
def test_a_polygon_needs_a_resolution_h3_has(resolution: int | None) -> None:
    with pytest.raises(InvalidInput, match="resolution from 0 to 15") as refused:
        cells_of_polygon(box(0, 0, 1, 1), resolution)
    assert refused.value.path == ("coverage", "resolution")
    assert refused.value.limit == "15"


# What is malformed.

SQUARE = [[0, 0], [1, 0], [1, 1], [0, 0]]


@pytest.mark.parametrize(
    ("geo_json", "place", "message"),
    [
        (None, (), "expected a GeoJSON object"),
        ("POLYGON((0 0, 1 1, 1 0))", (), "expected a GeoJSON object"),
        ([], (), "expected a GeoJSON object"),
        ({}, ("type",), "is no area"),
        ({"type": ["Polygon"]}, ("type",), "'list' is no area"),
        ({"type": "Point", "coordinates": [0, 0]}, ("type",), "'Point' is no area"),
        ({"type": "Polygon"}, ("coordinates",), "list of rings, not NoneType"),
        ({"type": "Polygon", "coordinates": []}, ("coordinates",), "empty"),
        ({"type": "Polygon", "coordinates": [[]]}, ("coordinates", "0"), "empty"),
        ({"type": "Polygon", "coordinates": {"0": []}}, ("coordinates",), "list of rings, not dict"),
        ({"type": "Polygon", "coordinates": [SQUARE[:3]]}, ("coordinates", "0"), "at least 4 positions, not 3"),
        ({"type": "Polygon", "coordinates": [[*SQUARE, [1, 1]]]}, ("coordinates", "0"), "closed"),
        ({"type": "Polygon", "coordinates": [SQUARE, [*SQUARE, 1]]}, ("coordinates", "1", "4"), "a position is"),
        ({"type": "Polygon", "coordinates": [[[0], *SQUARE]]}, ("coordinates", "0", "0"), "a position is"),
        ({"type": "Polygon", "coordinates": [[[180.5, 0], *SQUARE]]}, ("coordinates", "0", "0", "0"), "a longitude"),
        ({"type": "Polygon", "coordinates": [[[0, -91], *SQUARE]]}, ("coordinates", "0", "0", "1"), "a latitude"),
        ({"type": "Polygon", "coordinates": [[["0", 0], *SQUARE]]}, ("coordinates", "0", "0", "0"), "a longitude"),
        ({"type": "Polygon", "coordinates": [[[True, 0], *SQUARE]]}, ("coordinates", "0", "0", "0"), "a longitude"),
        ({"type": "Polygon", "coordinates": [[[10**400, 0], *SQUARE]]}, ("coordinates", "0", "0", "0"), "a longitude"),
        ({"type": "Polygon", "coordinates": [[[0, math.nan], *SQUARE]]}, ("coordinates", "0", "0", "1"), "a latitude"),
        ({"type": "Polygon", "coordinates": [[[0, math.inf], *SQUARE]]}, ("coordinates", "0", "0", "1"), "a latitude"),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], 5]}, ("coordinates", "1"), "list of rings, not int"),
        ({"type": "Feature", "geometry": None}, ("geometry",), "expected a GeoJSON object"),
        ({"type": "FeatureCollection", "features": []}, ("features",), "empty"),
        (
            {"type": "GeometryCollection", "geometries": [box(0, 0, 1, 1), {"type": "LineString"}]},
            ("geometries", "1", "type"),
            "'LineString' is no area",
        ),
        (polygon([(0, 70), (120, 70), (-120, 70)]), ("coordinates", "0"), "round a pole"),
    ],
)
def test_a_malformed_area_is_refused_with_the_place_of_the_fault(
    geo_json: object, place: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        cells_of_polygon(geo_json, 3)
    assert refused.value.path == ("coverage", "geoJson", *place)
    assert message in refused.value.message
    assert len(refused.value.message) < 200


def test_nesting_positions_and_polygons_have_limits() -> None:
    nested = box(0, 0, 1, 1)
    for _ in range(geojson.DEPTH_MAX - 1):
        nested = {"type": "GeometryCollection", "geometries": [nested]}
    assert cells_of_polygon(nested, 3)
    beyond = [
        ({"type": "GeometryCollection", "geometries": [nested]}, "nested deeper than 8 levels"),
        (polygon([(step / 1000, 0) for step in range(50_000)]), "at most 50,000 positions"),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE]] * 2_001}, "at most 2,000 polygons"),
    ]
    for geo_json, message in beyond:
        with pytest.raises(InvalidInput, match=message) as refused:
            cells_of_polygon(geo_json, 3)
        assert refused.value.limit
