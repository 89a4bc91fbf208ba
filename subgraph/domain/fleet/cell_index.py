"""Owns where in the columns a session's tiles are: from cells to rows, one by one or many at once, and in order."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.fleet import mapped

NO_ROW = -1

RECENT_MIN = 256
RECENT_SHARE = 1 / 8
"""So many tiles, or this share of them where that is more, wait beside the sorted ones before they are merged in."""


class CellIndex:
    """A map from cells to rows that costs 12 bytes a tile: sorted arrays, and a dictionary of what is new."""

    __slots__ = ("_cells", "_gone", "_recent", "_rows")

    def __init__(self) -> None:
        self._cells: CellArray = np.empty(0, np.int64)
        self._rows: npt.NDArray[np.int32] = np.empty(0, np.int32)
        self._recent: dict[int, int] = {}
        self._gone = 0  # of the sorted ones; their row is NO_ROW

    def __len__(self) -> int:
        return self._cells.size - self._gone + len(self._recent)

    def __contains__(self, cell: int) -> bool:
        return self.get(cell) is not None

    def __iter__(self) -> Iterator[int]:
        """The cells, in the order of their indexes."""
        return iter(self.cells.tolist())

    def get(self, cell: int) -> int | None:
        """The row of a cell, or None."""
        row = self._recent.get(cell)
        if row is not None:
            return row
        at = self._sorted_at(cell)
        return None if at is None else int(self._rows[at])

    def put(self, cell: int, row: int) -> None:
        """Add a cell that is not there."""
        self._recent[cell] = row
        if len(self._recent) > max(RECENT_MIN, RECENT_SHARE * self._cells.size):
            self._merge()

    def remove(self, cell: int) -> None:
        """Take out a cell that is there."""
        if self._recent.pop(cell, None) is None:
            at = self._sorted_at(cell)
            if at is None:
                raise KeyError(cell)
            self._rows[at] = NO_ROW
            self._gone += 1

    @property
    def cells(self) -> CellArray:
        """All cells, sorted."""
        self._merge()
        return self._cells

    @property
    def rows(self) -> npt.NDArray[np.int32]:
        """The rows of all cells, in the order of `cells`."""
        self._merge()
        return self._rows

    def rows_of(self, cells: CellArray) -> npt.NDArray[np.int32]:
        """The row of each cell, NO_ROW where there is none."""
        self._merge()
        if not self._cells.size:
            return np.full(cells.shape, NO_ROW, np.int32)
        at = np.minimum(self._cells.searchsorted(cells), self._cells.size - 1)
        return np.where(self._cells[at] == cells, self._rows[at], np.int32(NO_ROW))

    def _sorted_at(self, cell: int) -> int | None:
        at = int(self._cells.searchsorted(cell))
        found = at < self._cells.size and self._cells[at] == cell and self._rows[at] != NO_ROW
        return at if found else None

    def _merge(self) -> None:
        if not self._recent and not self._gone:
            return
        kept = self._rows != NO_ROW
        cells = np.concatenate((self._cells[kept], np.fromiter(self._recent.keys(), np.int64, len(self._recent))))
        rows = np.concatenate((self._rows[kept], np.fromiter(self._recent.values(), np.int32, len(self._recent))))
        order = np.argsort(cells, kind="stable")
        self._cells, self._rows, self._gone = mapped.kept(cells[order]), mapped.kept(rows[order]), 0
        self._recent.clear()
