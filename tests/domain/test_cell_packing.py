"""Cells kept as bytes: what goes in comes out, and neighbours take hardly any room."""

import random

import h3.api.numpy_int as h3
import numpy as np
import pytest

from subgraph.domain.coverage.cells import CellArray, cell_array
from subgraph.domain.coverage.packing import pack_cells, unpack_cells

PLACE = (40.0, -100.0)
DISK: CellArray = np.asarray(h3.grid_disk(h3.latlng_to_cell(*PLACE, 9), 100), np.int64)


@pytest.mark.parametrize(
    "cells",
    [
        cell_array(()),
        cell_array((h3.latlng_to_cell(*PLACE, 0),)),
        cell_array((h3.latlng_to_cell(*PLACE, 15),)),
        DISK,
        cell_array(h3.latlng_to_cell(*PLACE, resolution) for resolution in range(16)),
        np.asarray(h3.get_res0_cells(), np.int64),
    ],
    ids=["none", "coarsest", "finest", "disk", "every resolution", "the world"],
)
def test_cells_come_out_as_they_went_in(cells: CellArray) -> None:
    assert unpack_cells(pack_cells(cells)).tolist() == sorted(cells.tolist())


def test_neither_order_nor_repetition_is_kept() -> None:
    shuffled = DISK.tolist() * 2
    random.Random(1).shuffle(shuffled)
    assert pack_cells(cell_array(shuffled)) == pack_cells(DISK)


def test_neighbours_take_less_than_a_byte_each() -> None:
    assert len(pack_cells(DISK)) < DISK.size


def test_bytes_of_another_format_are_refused() -> None:
    for strange in (b"", b"\x02" + pack_cells(DISK)[1:]):
        with pytest.raises(ValueError, match="format"):
            unpack_cells(strange)
