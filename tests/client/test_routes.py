"""The tile of a place, as a feeder finds it, is the one that the session manager says."""

import h3.api.basic_int as h3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.client.routes import NoRoute, Route, Routes, Why
from subgraph.domain.coverage import Coverage, finest_cell

CENTRE = h3.latlng_to_cell(40.0, -100.0, 4)
RING = h3.grid_disk(CENTRE, 2)
# One tile split into its children, one of these split again: three resolutions side by side.
PARTS = list(h3.cell_to_children(CENTRE, 5))
CELLS = [cell for cell in RING if cell != CENTRE] + PARTS[1:] + list(h3.cell_to_children(PARTS[0], 6))


def routes_of(cells: list[int]) -> Routes:
    routes = Routes("session")
    for cell in cells:
        routes.tell(f"session:{cell:x}", "pod", 7, is_at_work=True)
    return routes


ROUTES, COVERAGE = routes_of(CELLS), Coverage(CELLS)
LATS, LNGS = st.floats(36, 44), st.floats(-104, -96)


@given(lat=LATS, lng=LNGS)
def test_a_place_has_the_tile_that_the_session_manager_finds(lat: float, lng: float) -> None:
    cell = COVERAGE.tile_at(lat, lng)
    assert ROUTES.tile_at(lat, lng) == (None if cell is None else f"session:{cell:x}")


@given(lat=LATS, lng=LNGS, resolution=st.integers(6, 15))
def test_a_records_own_cell_has_the_tile_that_contains_it(lat: float, lng: float, resolution: int) -> None:
    cell = h3.cell_to_parent(finest_cell(lat, lng), resolution)
    tile = COVERAGE.tile_at(lat, lng)
    assert ROUTES.tile_of(cell) == (None if tile is None else f"session:{tile:x}")


def test_a_cell_larger_than_the_tiles_in_it_belongs_to_none() -> None:
    assert ROUTES.tile_of(CENTRE) is None
    assert ROUTES.tile_of(PARTS[0]) is None
    assert ROUTES.tile_of(PARTS[1]) == f"session:{PARTS[1]:x}"
    assert ROUTES.tile_of(h3.cell_to_parent(CENTRE, 0)) is None


def test_a_tile_that_splits_gives_its_places_to_its_parts_and_back() -> None:
    routes = routes_of([CENTRE])
    lat, lng = h3.cell_to_latlng(PARTS[3])
    assert routes.tile_at(lat, lng) == f"session:{CENTRE:x}"
    for part in PARTS:
        routes.tell(f"session:{part:x}", None, None, is_at_work=False)
    # While both are told, a place belongs to the larger one, and never to both.
    assert routes.tile_at(lat, lng) == f"session:{CENTRE:x}"
    routes.forget([f"session:{CENTRE:x}", f"session:{CENTRE:x}", "session:8026fffffffffff"])
    assert routes.tile_at(lat, lng) == f"session:{PARTS[3]:x}"
    routes.forget(f"session:{part:x}" for part in PARTS)
    assert routes.tile_at(lat, lng) is None
    assert (len(routes), list(routes)) == (0, [])


@pytest.mark.parametrize(("lat", "lng"), [(90.1, 0), (-91, 0), (0, 180.5), (float("nan"), 0), (0, float("inf"))])
def test_what_is_no_place_is_refused(lat: float, lng: float) -> None:
    with pytest.raises(ValueError, match="no place"):
        ROUTES.tile_at(lat, lng)


def test_poles_and_the_antimeridian_are_places() -> None:
    world = routes_of(list(h3.get_res0_cells()))
    for lat, lng in ((90, 0), (-90, 12), (0, 180), (0, -180), (90, 180)):
        assert world.tile_at(lat, lng) == f"session:{h3.cell_to_parent(finest_cell(lat, lng), 0):x}"


def test_a_tile_is_owned_unowned_or_not_there() -> None:
    routes = Routes("session")
    routes.tell("session:8426001ffffffff", "pod", 7, is_at_work=False)
    assert routes.route_of("session:8426001ffffffff") == Route("session:8426001ffffffff", "pod", 7, is_at_work=False)
    routes.tell("session:8426001ffffffff", None, None, is_at_work=False)
    assert routes.route_of("session:8426001ffffffff") == NoRoute(Why.UNOWNED, "session:8426001ffffffff")
    assert routes.route_of("session:8426003ffffffff") == NoRoute(Why.OUTSIDE)
    assert list(routes) == ["session:8426001ffffffff"]
