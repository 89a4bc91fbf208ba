"""Which tile a place belongs to, and how a coverage grows while every place stays covered once."""

import h3.api.basic_int as h3
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from subgraph.domain.coverage import (
    FINEST_RESOLUTION,
    Coverage,
    cells_without,
    finest_cell,
    parse_cells,
    resolve_overlaps,
)
from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.coverage.tiles import NO_TILE
from subgraph.domain.errors import InvalidInput

SAN_FRANCISCO = 0x85283473FFFFFFF
PENTAGON = h3.get_pentagons(3)[0]

lats = st.floats(-90, 90)
lngs = st.floats(-180, 180)
cells = st.builds(h3.latlng_to_cell, lats, lngs, st.integers(0, 15)) | st.just(PENTAGON)
cell_lists = st.lists(cells, max_size=40)


def parent(cell: int, resolution: int) -> int:
    return int(h3.cell_to_parent(cell, resolution))


def ancestors_and_self(cell: int) -> set[int]:
    return {parent(cell, resolution) for resolution in range(h3.get_resolution(cell) + 1)}


def disjoint(chosen: list[int]) -> list[int]:
    """The largest of nested cells, found the slow way."""
    return [cell for cell in dict.fromkeys(chosen) if not (ancestors_and_self(cell) - {cell}) & set(chosen)]


# Reading cells.


@settings(deadline=None)
@given(cell_lists)
def test_cells_survive_being_written_and_read(chosen: list[int]) -> None:
    assert parse_cells([h3.int_to_str(cell) for cell in chosen]) == list(dict.fromkeys(chosen))


def test_capital_digits_name_the_same_cell() -> None:
    assert parse_cells(["85283473fffffff", "85283473FFFFFFF"]) == [SAN_FRANCISCO]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "85283473ffffff",  # a digit short
        "085283473fffffff",
        "0x85283473fffffff",
        " 85283473fffffff",
        "8528_3473fffffff",
        "-85283473fffffff",
        "85283473ffffffg",
        "85283473fffffff\n",
        "８5283473fffffff",
        "85283473ff0ffff",  # digits beyond the resolution
        "115283473fffffff",  # an edge
        "22528340bfffffff",  # a vertex
        "0",
        "x" * 1_000_000,
    ],
)
def test_what_is_no_cell_is_named_with_its_place(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_cells(["85283473fffffff", text], path=("coverage", "cells"))
    assert refused.value.path == ("coverage", "cells", "1")
    assert repr(text[:32]) in refused.value.message
    assert len(refused.value.message) < 120


def test_a_value_that_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_cells([SAN_FRANCISCO])  # type: ignore[list-item]  # a caller's mistake
    assert refused.value.path == ("coverage", "cells", "0")


def test_too_many_cells_are_refused_unread() -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_cells(["nonsense"] * 4, cells_max=3)
    assert refused.value.limit == "3 cells"
    assert refused.value.path == ("coverage", "cells")


# Places.


def test_the_tile_of_a_place_is_the_ancestor_of_its_finest_cell_not_the_coarse_cell_of_its_coordinates() -> None:
    cell = h3.latlng_to_cell(48.0, 11.0, 7)
    coverage = Coverage(h3.grid_disk(cell, 3))
    places = [(48.0 + row / 2000, 11.0 + column / 2000) for row in range(-20, 20) for column in range(-20, 20)]
    differing = 0
    for lat, lng in places:
        tile = coverage.tile_at(lat, lng)
        assert tile == parent(h3.latlng_to_cell(lat, lng, 15), 7)
        differing += tile != h3.latlng_to_cell(lat, lng, 7)
    assert 0.03 < differing / len(places) < 0.12


@pytest.mark.parametrize("lat", [float("nan"), float("inf"), float("-inf"), 90.1, -90.1, 1e308])
def test_a_latitude_out_of_range_is_refused(lat: float) -> None:
    with pytest.raises(InvalidInput, match="lat must lie between -90 and 90") as refused:
        Coverage().tile_at(lat, 0.0, ("at",))
    assert refused.value.path == ("at", "lat")
    with pytest.raises(InvalidInput) as refused:
        Coverage().tiles_at([0.0, lat], [0.0, 0.0], ("records",))
    assert refused.value.path == ("records", "1", "lat")


@pytest.mark.parametrize("lng", [float("nan"), float("inf"), float("-inf"), 180.1, -180.1, 1e308])
def test_a_longitude_out_of_range_is_refused(lng: float) -> None:
    with pytest.raises(InvalidInput, match="lng must lie between -180 and 180") as refused:
        Coverage().tile_at(0.0, lng, ("at",))
    assert refused.value.path == ("at", "lng")
    with pytest.raises(InvalidInput) as refused:
        Coverage().tiles_at([0.0, 0.0], [0.0, lng], ("records",))
    assert refused.value.path == ("records", "1", "lng")


def test_as_many_longitudes_as_latitudes_are_needed() -> None:
    with pytest.raises(InvalidInput, match="as many longitudes as latitudes, not 1 and 2"):
        Coverage().tiles_at([0.0, 1.0], [0.0])


@settings(deadline=None)
@given(cell_lists, st.lists(st.tuples(lats, lngs), max_size=20))
def test_every_place_has_at_most_one_tile_and_a_batch_says_the_same(
    chosen: list[int], places: list[tuple[float, float]]
) -> None:
    coverage = Coverage(disjoint(chosen))
    places += [h3.cell_to_latlng(cell) for cell in chosen]
    tiles = coverage.tiles_at([lat for lat, _ in places], [lng for _, lng in places]).tolist()
    for (lat, lng), tile in zip(places, tiles, strict=True):
        around = ancestors_and_self(finest_cell(lat, lng)) & set(coverage)
        assert len(around) <= 1
        assert coverage.tile_at(lat, lng) == next(iter(around), None)
        assert tile == next(iter(around), NO_TILE)


# Coverage as a set.


@settings(deadline=None)
@given(cell_lists, cells)
def test_covers_and_descendants_agree_with_the_slow_way(chosen: list[int], cell: int) -> None:
    tiles = disjoint(chosen)
    coverage = Coverage(tiles)
    for probe in (cell, *(near for tile in tiles for near in ancestors_and_self(tile))):
        inside = ancestors_and_self(probe) & set(tiles)
        assert coverage.covers(probe) == bool(inside)
        assert coverage.tile_of(probe) == next(iter(inside), None)
        assert coverage.has_descendant_of(probe) == any(probe in ancestors_and_self(tile) - {tile} for tile in tiles)


@settings(deadline=None)
@given(cell_lists, cell_lists)
def test_adding_and_removing_leave_what_a_set_would_hold(first: list[int], second: list[int]) -> None:
    tiles = disjoint(first + second)
    coverage = Coverage(tile for tile in tiles if tile in first)
    coverage.add(tiles)
    coverage.add(tiles)
    assert set(coverage) == set(tiles)
    assert len(coverage) == len(tiles)
    coverage.remove([*second, SAN_FRANCISCO])
    assert set(coverage) == set(tiles) - set(second) - {SAN_FRANCISCO}
    assert all((tile in coverage) == (tile not in second) for tile in tiles if tile != SAN_FRANCISCO)


def test_tiles_are_counted_per_resolution() -> None:
    coverage = Coverage([SAN_FRANCISCO, *h3.cell_to_children(h3.latlng_to_cell(0, 0, 2))])
    assert coverage.tiles_per_resolution() == {3: 7, 5: 1}
    assert Coverage().tiles_per_resolution() == {}


def test_a_tile_inside_another_is_never_added() -> None:
    coverage = Coverage([SAN_FRANCISCO])
    for overlapping in (h3.cell_to_children(SAN_FRANCISCO)[3], parent(SAN_FRANCISCO, 4)):
        with pytest.raises(ValueError, match="lies inside tile"):
            coverage.add([overlapping])
    assert list(coverage) == [SAN_FRANCISCO]


@settings(deadline=None)
@given(st.builds(h3.latlng_to_cell, lats, lngs, st.integers(0, 12)) | st.just(PENTAGON), st.data())
def test_splitting_a_tile_keeps_every_place_covered_once(cell: int, data: st.DataObject) -> None:
    neighbours = [near for near in h3.grid_disk(cell, 1) if near != cell]
    coverage = Coverage([cell, *neighbours])
    inner = st.sampled_from(h3.cell_to_children(cell, h3.get_resolution(cell) + 3))
    places = [h3.cell_to_latlng(data.draw(inner)) for _ in range(5)]
    before = [coverage.tile_at(*place) for place in places]
    assume(cell in before)
    children = h3.cell_to_children(cell)
    coverage.remove([cell])
    coverage.add(children)
    assert len(coverage) == len(children) + len(neighbours)
    for place, tile in zip(places, before, strict=True):
        now = coverage.tile_at(*place)
        assert now in children if tile == cell else now == tile


# Growing a coverage.


def test_what_is_covered_already_is_told_from_what_is_added() -> None:
    child, *_ = h3.cell_to_children(SAN_FRANCISCO)
    other = h3.latlng_to_cell(0, 0, 4)
    inside_other = h3.cell_to_center_child(other, 9)
    change = resolve_overlaps(Coverage([SAN_FRANCISCO]), [child, inside_other, SAN_FRANCISCO, other, other, child])
    assert change.added == (other,)
    assert change.covered == (child, inside_other, SAN_FRANCISCO)
    assert change.covering == (SAN_FRANCISCO,)


def test_a_cell_that_contains_a_tile_is_refused_and_the_tile_named() -> None:
    existing = Coverage([SAN_FRANCISCO, h3.latlng_to_cell(0, 0, 5)])
    with pytest.raises(InvalidInput, match=r"cell 83283\w+ contains tile 85283473fffffff") as refused:
        resolve_overlaps(existing, [h3.latlng_to_cell(50, 50, 5), parent(SAN_FRANCISCO, 3)], ("coverage", "cells"))
    assert refused.value.path == ("coverage", "cells")


@pytest.mark.parametrize("cell", [SAN_FRANCISCO, PENTAGON])
def test_a_cell_whose_tile_was_split_is_covered_by_what_it_was_split_into(cell: int) -> None:
    first, *others = h3.cell_to_children(cell)
    tiles = {*others, *h3.cell_to_children(first)}
    existing = Coverage([*tiles, h3.latlng_to_cell(0, 0, 5)])
    change = resolve_overlaps(existing, [cell, first])
    assert (change.added, change.covered, set(change.covering)) == ((), (cell, first), tiles)
    existing.remove(others[:1])
    assert not existing.fills(cell)
    with pytest.raises(InvalidInput, match="does not cover all of it"):
        resolve_overlaps(existing, [cell])


@settings(deadline=None)
@given(cell_lists, cells)
def test_the_tiles_within_a_cell_are_found_the_slow_way_too(chosen: list[int], cell: int) -> None:
    tiles = disjoint(chosen)
    within = {tile for tile in tiles if cell in ancestors_and_self(tile)}
    coverage = Coverage(tiles)
    assert set(coverage.tiles_within(cell)) == within
    finest = sum(h3.cell_to_children_size(tile, 15) for tile in within)
    assert coverage.fills(cell) == (finest == h3.cell_to_children_size(cell, 15))


@settings(deadline=None)
@given(cell_lists, cell_lists)
def test_growing_covers_all_that_was_asked_and_nothing_twice(existing: list[int], new: list[int]) -> None:
    tiles = disjoint(existing)
    coverage = Coverage(tiles)
    contained = {tile for tile in tiles for cell in new if cell in ancestors_and_self(tile) - {tile}}
    uncovered = [cell for cell in new if not coverage.covers(cell)]
    if contained and any(coverage.has_descendant_of(cell) for cell in uncovered):
        with pytest.raises(InvalidInput, match="contains tile"):
            resolve_overlaps(coverage, new)
        return
    change = resolve_overlaps(coverage, new)
    assert list(change.added) == disjoint(uncovered)
    assert sorted((*change.added, *change.covered)) == sorted(set(new))
    assert set(change.covering) == {tile for cell in new for tile in ancestors_and_self(cell) & set(tiles)}
    coverage.add(change.added)
    assert all(coverage.covers(cell) for cell in new)
    assert len(coverage) == len(tiles) + len(change.added)


@settings(deadline=None)
@given(cell_lists, cell_lists)
def test_what_is_left_without_some_cells_covers_the_rest_and_nothing_of_them(cells: list[int], away: list[int]) -> None:
    tiles, gone = Coverage(disjoint(cells)), Coverage(disjoint(away))
    left = Coverage(cells_without(cell_array(tiles), gone).tolist())
    assert not any(left.covers(cell) or left.has_descendant_of(cell) for cell in gone)
    assert all(tiles.covers(cell) for cell in left)
    for cell in tiles:
        taken = sum(size(one) for one in gone.tiles_within(cell)) if not gone.covers(cell) else size(cell)
        assert sum(size(one) for one in left.tiles_within(cell)) == size(cell) - taken


def size(cell: int) -> int:
    return int(h3.cell_to_children_size(cell, FINEST_RESOLUTION))
