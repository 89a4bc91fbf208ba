"""Owns which tiles border on which: found when a plan first asks, and kept up as tiles come and go."""

from collections.abc import Mapping
from typing import Protocol

import h3.api.basic_int as h3
import numpy as np
import numpy.typing as npt

from subgraph.domain.coverage.cells import CellArray, ancestor_keys_of, cell_array, keys_of, resolutions_of
from subgraph.domain.ids import SessionId
from subgraph.domain.planning.columns import Counts, Flags, Rows

NOTHING = -1
SIDES_MAX = 6
GONE_MAX = 100_000
"""Tiles that may go between two refreshes before all is forgotten instead: where nobody plans, nobody refreshes."""


class TilesInRows(Protocol):
    """What has to be known of the tiles: columns by row, and the rows of each session's cells."""

    cell: npt.NDArray[np.uint64]
    exists: Flags
    rows_of_session: dict[SessionId, dict[int, int]]

    @property
    def rows_used(self) -> int:
        """The length of the columns' used part."""
        ...

    def session_of(self, row: int) -> SessionId:
        """The session a tile belongs to."""
        ...


class Adjacency:
    """For each tile the tiles of its session across its (at most six) sides, of its resolution or coarser.

    What is finer names the coarser, so every pair of neighbours is known from at least one of them. Finding the
    neighbours of a tile costs some microseconds, so a large fleet is taken in over several plans.
    """

    _sides: Rows
    _known: Flags
    _gone: list[int]
    _resolutions: dict[SessionId, tuple[int, int]]  # the coarsest and the finest met
    _edges: tuple[npt.NDArray[np.intp], Counts, Rows] | None  # the last answer, and what was asked

    def __init__(self) -> None:
        self._clear()

    def forget(self, row: int) -> None:
        """Hear that a row's tile is gone; the row may be another tile's at once."""
        if row < self._known.size:
            self._known[row] = False
            self._gone.append(row)
        if len(self._gone) > GONE_MAX:
            self._clear()

    def refresh(self, tiles: TilesInRows, rows_max: int) -> None:
        """Find the neighbours of at most that many tiles that are new, or whose neighbours went."""
        self._grow(tiles.rows_used)
        self._drop_gone(tiles)
        todo = np.flatnonzero(tiles.exists[: tiles.rows_used] & ~self._known[: tiles.rows_used])[:rows_max]
        if not todo.size:
            return
        self._edges = None
        self._meet_coarser(tiles, todo)
        for row in todo.tolist():
            session = tiles.session_of(row)
            coarsest, _ = self._resolutions[session]
            across = _across(int(tiles.cell[row]), tiles.rows_of_session[session], coarsest)
            self._sides[row] = NOTHING
            self._sides[row, : len(across)] = across
        self._known[todo] = True
        self._tell_neighbors(tiles, todo)

    def edges(self, tiles: TilesInRows, rows: npt.NDArray[np.intp]) -> tuple[Counts, Rows]:
        """Return the neighbours among these rows, as offsets and positions in `rows`: each pair stands in both."""
        if self._edges is not None and np.array_equal(self._edges[0], rows):
            return self._edges[1], self._edges[2]
        position = np.full(self._known.size + 1, NOTHING, np.int32)  # the last one stands for NOTHING
        position[rows] = np.arange(rows.size, dtype=np.int32)
        there = position[self._sides[rows]]
        here = np.broadcast_to(np.arange(rows.size, dtype=np.int32)[:, np.newaxis], there.shape)
        beside = there != NOTHING
        resolution = resolutions_of(_cells(tiles, rows))
        coarser = beside & (resolution[there] < resolution[:, np.newaxis])
        if not coarser.any():
            counts, neighbors = beside.sum(axis=1), there[beside]
        else:
            sources = np.concatenate((here[beside], there[coarser]))
            targets = np.concatenate((there[beside], here[coarser]))
            order = np.argsort(sources, kind="stable")
            counts, neighbors = np.bincount(sources, minlength=rows.size), targets[order]
        offsets = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        self._edges = rows.copy(), offsets, neighbors
        return offsets, neighbors

    def _clear(self) -> None:
        self._sides = np.empty((0, SIDES_MAX), np.int32)
        self._known = np.empty(0, np.bool_)
        self._gone, self._resolutions, self._edges = [], {}, None

    def _grow(self, rows: int) -> None:
        more = rows - self._known.size
        if more > 0:
            more = max(more, self._known.size)
            self._sides = np.concatenate((self._sides, np.full((more, SIDES_MAX), NOTHING, np.int32)))
            self._known = np.concatenate((self._known, np.zeros(more, np.bool_)))

    def _drop_gone(self, tiles: TilesInRows) -> None:
        if not self._gone:
            return
        for session in self._resolutions.keys() - tiles.rows_of_session.keys():
            del self._resolutions[session]
        is_gone = np.zeros(self._known.size + 1, np.bool_)
        is_gone[self._gone] = True
        beside_gone = is_gone[self._sides]
        self._sides[beside_gone] = NOTHING
        # What was split or merged is followed by others in its place.
        self._known &= ~beside_gone.any(axis=1)
        self._sides[self._gone] = NOTHING
        self._gone.clear()
        self._edges = None

    def _meet_coarser(self, tiles: TilesInRows, todo: npt.NDArray[np.intp]) -> None:
        """Note the resolutions of sessions, and have finer tiles beside new coarser ones look again."""
        sessions = [tiles.session_of(row) for row in todo.tolist()]
        resolutions = resolutions_of(_cells(tiles, todo))
        for session, resolution in set(zip(sessions, resolutions.tolist(), strict=True)):
            coarsest, finest = self._resolutions.get(session, (resolution, resolution))
            self._resolutions[session] = min(coarsest, resolution), max(finest, resolution)
            if finest <= resolution:
                continue
            new = [
                row
                for row, its_session, its_resolution in zip(todo.tolist(), sessions, resolutions, strict=True)
                if its_session == session and its_resolution == resolution
            ]
            around = {cell for row in new for cell in h3.grid_disk(int(tiles.cell[row]), 1)}
            rows = np.fromiter(tiles.rows_of_session[session].values(), np.intp)
            finer = rows[resolutions_of(_cells(tiles, rows)) > resolution]
            beside = np.isin(ancestor_keys_of(_cells(tiles, finer), resolution), keys_of(cell_array(around)))
            self._known[finer[beside]] = False

    def _tell_neighbors(self, tiles: TilesInRows, rows: npt.NDArray[np.intp]) -> None:
        """Write these rows into their neighbours of the same resolution, where they are not known yet."""
        sides = self._sides[rows]
        told, new = sides[sides != NOTHING], np.repeat(rows, (sides != NOTHING).sum(axis=1))
        same = resolutions_of(_cells(tiles, told)) == resolutions_of(_cells(tiles, new))
        told, new = told[same], new[same]
        for _ in range(SIDES_MAX):  # a neighbour hears of one new tile after the other
            missing = ~(self._sides[told] == new[:, np.newaxis]).any(axis=1)
            told, new = told[missing], new[missing]
            if not told.size:
                return
            which, first = np.unique(told, return_index=True)
            self._sides[which, np.argmax(self._sides[which] == NOTHING, axis=1)] = new[first]


def _across(cell: int, row_of_cell: Mapping[int, int], coarsest: int) -> list[int]:
    """Return the rows of the tiles across the sides of a cell: of its resolution, or coarser."""
    finest = h3.get_resolution(cell)
    found: dict[int, None] = {}
    for other in h3.grid_disk(cell, 1):
        row = row_of_cell.get(other)
        resolution = finest
        while row is None and resolution > coarsest:
            resolution -= 1
            row = row_of_cell.get(h3.cell_to_parent(other, resolution))
        if row is not None and other != cell:
            found[row] = None
    return list(found)


def _cells(tiles: TilesInRows, rows: npt.NDArray[np.intp]) -> CellArray:
    return tiles.cell[rows].view(np.int64)
