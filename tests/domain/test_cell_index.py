"""Where a session's tiles are in the columns: whatever comes and goes, it answers as a dictionary would."""

import h3.api.basic_int as h3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from subgraph.domain.fleet.cell_index import NO_ROW, RECENT_MIN, CellIndex

CELLS = h3.grid_disk(h3.latlng_to_cell(40.0, -100.0, 5), 14)
ABSENT = h3.latlng_to_cell(-40.0, 100.0, 5)


def test_cells_come_out_in_the_order_of_their_indexes_with_their_rows() -> None:
    index = CellIndex()
    for row, cell in enumerate(CELLS):
        index.put(cell, row)
    assert list(index) == sorted(CELLS)
    assert [CELLS[row] for row in index.rows.tolist()] == sorted(CELLS)


def test_an_empty_index_finds_nothing() -> None:
    index = CellIndex()
    assert index.get(ABSENT) is None
    assert index.rows_of(np.array([ABSENT])).tolist() == [NO_ROW]
    assert (len(index), list(index)) == (0, [])


def test_what_is_not_there_cannot_be_removed() -> None:
    index = CellIndex()
    index.put(CELLS[0], 1)
    with pytest.raises(KeyError):
        index.remove(ABSENT)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(CELLS[: 2 * RECENT_MIN]), st.sampled_from("putlook")), max_size=60), st.data()
)
def test_it_answers_as_a_dictionary_would(steps: list[tuple[int, str]], data: st.DataObject) -> None:
    index, twin = CellIndex(), dict[int, int]()
    bulk = data.draw(st.integers(0, 2 * RECENT_MIN))
    for row, cell in enumerate(CELLS[:bulk]):
        index.put(cell, row)
        twin[cell] = row
    for number, (cell, step) in enumerate(steps, bulk):
        if cell in twin:
            del twin[cell]
            index.remove(cell)
        else:
            twin[cell] = number
            index.put(cell, number)
        if step == "l":
            assert index.cells.tolist() == sorted(twin)
        assert index.get(cell) == twin.get(cell)
        assert len(index) == len(twin)
    asked = [ABSENT, *CELLS[: 2 * RECENT_MIN]]
    assert [index.get(cell) for cell in asked] == [twin.get(cell) for cell in asked]
    assert index.rows_of(np.array(asked)).tolist() == [twin.get(cell, NO_ROW) for cell in asked]
    assert ABSENT not in index
