"""Which tiles are neighbours, as tiles of several resolutions come and go: always what a fresh look says."""

import itertools

import h3.api.basic_int as h3
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.fleet.adjacency import GONE_MAX
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.ids import SessionId, parse_tile_id, tile_id
from tests.support.fleets import SESSION, TENANT, tile

OTHER = SessionId("other")
PENTAGON = h3.get_pentagons(4)[3]
FINE = h3.grid_disk(h3.latlng_to_cell(40.0, -100.0, 5), 4)
ROWS_MAX = 1_000


def table_of(*cells: int, session: SessionId = SESSION) -> TileTable:
    table = TileTable()
    add(table, *cells, session=session)
    return table


def add(table: TileTable, *cells: int, session: SessionId = SESSION) -> None:
    for cell in cells:
        table.write(table.add(tile_id(session, cell), TENANT), tile(), 1, NOBODY)


def remove(table: TileTable, *cells: int, session: SessionId = SESSION) -> None:
    for cell in cells:
        row = table.row(tile_id(session, cell))
        assert row is not None
        table.remove(row)


def pairs(table: TileTable, rows_max: int = ROWS_MAX) -> set[frozenset[str]]:
    """The pairs of neighbours, each found in the rows of both and once in each."""
    table.adjacency.refresh(table, rows_max)
    rows = np.flatnonzero(table.exists[: table.rows_used])
    offsets, neighbors = table.adjacency.edges(table, rows)
    listed = [
        (table.id_of(rows[here]), table.id_of(rows[there]))
        for here, (start, end) in enumerate(itertools.pairwise(offsets.tolist()))
        for there in neighbors[start:end].tolist()
    ]
    assert len(set(listed)) == len(listed)
    assert {(there, here) for here, there in listed} == set(listed)
    return {frozenset(pair) for pair in listed}


def expected(table: TileTable) -> set[frozenset[str]]:
    """What a look at every tile says: two are neighbours if a cell beside the finer one is, or lies in, the other."""
    found: set[frozenset[str]] = set()
    for one, _ in list(table.items()):
        session, cell = parse_tile_id(one)
        for beside in h3.grid_disk(cell, 1):
            for resolution in range(h3.get_resolution(cell), -1, -1):
                other = h3.cell_to_parent(beside, resolution)
                if other in table.cells_of_session[session] and other != cell:
                    found.add(frozenset((one, tile_id(session, other))))
                    break
    return found


def test_a_tile_among_six_others_borders_on_all_of_them_and_they_on_two_more() -> None:
    table = table_of(*h3.grid_disk(FINE[0], 1))
    assert len(pairs(table)) == 6 + 6


def test_a_pentagon_has_five_neighbours() -> None:
    table = table_of(*h3.grid_disk(PENTAGON, 1))
    assert sum(tile_id(SESSION, PENTAGON) in pair for pair in pairs(table)) == 5


def test_tiles_of_two_sessions_are_no_neighbours() -> None:
    table = table_of(FINE[0])
    add(table, *h3.grid_ring(FINE[0], 1), session=OTHER)
    assert not any(tile_id(SESSION, FINE[0]) in pair for pair in pairs(table))


def test_what_comes_later_is_known_from_both_sides() -> None:
    table = table_of(FINE[0])
    assert pairs(table) == set()
    add(table, *FINE[1:])
    assert pairs(table) == expected(table)


def test_a_row_that_is_used_again_borders_on_what_its_new_tile_borders_on() -> None:
    table = table_of(*FINE)
    pairs(table)
    far = h3.latlng_to_cell(-40.0, 100.0, 5)
    remove(table, FINE[0])
    add(table, far)
    assert not any(tile_id(SESSION, far) in pair for pair in pairs(table))


def test_the_pieces_of_a_split_tile_border_on_what_it_bordered_on_and_give_way_to_it_again() -> None:
    coarse = h3.grid_disk(h3.latlng_to_cell(40.0, -100.0, 4), 2)
    table = table_of(*coarse)
    before = pairs(table)
    pieces = h3.cell_to_children(coarse[0], 5)
    remove(table, coarse[0])
    add(table, *pieces)
    assert pairs(table) == expected(table) != before
    remove(table, *pieces)
    add(table, coarse[0])
    assert pairs(table) == before == expected(table)


def test_a_coarse_tile_that_comes_beside_finer_ones_is_known_to_them() -> None:
    coarse = h3.latlng_to_cell(40.0, -100.0, 4)
    table = table_of(*(piece for cell in h3.grid_ring(coarse, 1) for piece in h3.cell_to_children(cell, 5)))
    pairs(table)
    add(table, coarse)
    table.adjacency.refresh(table, ROWS_MAX)  # the finer ones look again with the next plan
    assert pairs(table) == expected(table)


def test_a_large_fleet_is_taken_in_over_several_plans() -> None:
    table = table_of(*FINE)
    first = pairs(table, rows_max=20)
    assert first < expected(table)
    for _ in range(len(FINE) // 20 + 1):
        table.adjacency.refresh(table, 20)
    assert pairs(table) == expected(table)


def test_where_many_tiles_go_and_nobody_plans_all_is_found_anew() -> None:
    table = table_of(*FINE)
    pairs(table)
    for _ in range(GONE_MAX // len(FINE) + 1):
        remove(table, *FINE)
        add(table, *FINE)
    assert pairs(table) == expected(table)


def test_only_neighbours_among_the_rows_asked_for_are_told() -> None:
    table = table_of(*h3.grid_disk(FINE[0], 1))
    table.adjacency.refresh(table, ROWS_MAX)
    ring = np.array([row for one, row in table.items() if one != tile_id(SESSION, FINE[0])])
    offsets, neighbors = table.adjacency.edges(table, ring)
    assert np.diff(offsets).tolist() == [2] * 6
    assert sorted(neighbors.tolist()) == sorted([*range(6)] * 2)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_after_any_splits_merges_and_other_changes_it_is_what_a_fresh_look_says(data: st.DataObject) -> None:
    roots = h3.grid_disk(h3.latlng_to_cell(40.0, -100.0, 3), 1)
    table = table_of(*data.draw(st.lists(st.sampled_from(roots), min_size=2, unique=True)))
    for _ in range(data.draw(st.integers(1, 8))):
        cells = table.cell[table.rows_of_session(SESSION)].tolist()
        absent = [root for root in roots if not any(h3.cell_to_parent(cell, 3) == root for cell in cells)]
        steps = ["look", *["split", "remove"] * bool(cells), *["add"] * bool(absent), *["merge"] * bool(cells)]
        match data.draw(st.sampled_from(steps)):
            case "split":
                cell = data.draw(st.sampled_from(cells))
                if h3.get_resolution(cell) < 5:
                    remove(table, cell)
                    add(table, *h3.cell_to_children(cell))
            case "merge":
                cell = data.draw(st.sampled_from(cells))
                if h3.get_resolution(cell) > 3:
                    parent = h3.cell_to_parent(cell)
                    remove(table, *(one for one in cells if h3.get_resolution(one) > h3.get_resolution(parent)
                                    and h3.cell_to_parent(one, h3.get_resolution(parent)) == parent))  # fmt: skip
                    add(table, parent)
            case "remove":
                remove(table, data.draw(st.sampled_from(cells)))
            case "add":
                add(table, data.draw(st.sampled_from(absent)))
            case _:
                pairs(table, rows_max=data.draw(st.integers(1, 50)))
    for _ in range(20):
        table.adjacency.refresh(table, ROWS_MAX)
    assert pairs(table) == expected(table)
