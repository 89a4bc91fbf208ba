"""Owns which tiles border on which: found when a plan first asks, and kept up as tiles come and go."""

from typing import Protocol

import h3.api.basic_int as h3
import numpy as np
import numpy.typing as npt

from subgraph.domain.coverage.cells import CellArray, ancestors_of, cell_array, resolutions_of
from subgraph.domain.fleet import mapped
from subgraph.domain.fleet.cell_index import NO_ROW, CellIndex
from subgraph.domain.fleet.tile_columns import GROWTH_SHARE
from subgraph.domain.ids import SessionId
from subgraph.domain.planning.columns import Counts, Flags, Positions, Rows

SIDES_MAX = 6
BLOCK_ROWS = 1 << 15
"""Rows whose neighbours are put together at a time: what that needs for a moment does not grow with the fleet."""
GONE_MAX = 100_000
"""Tiles that may go between two refreshes before all is forgotten instead: where nobody plans, nobody refreshes."""


class TilesInRows(Protocol):
    """What has to be known of the tiles: columns by row, and where each session's cells are."""

    cell: CellArray
    session: Rows
    exists: Flags
    rows_used: int
    cells_of_session: dict[SessionId, CellIndex]

    def session_of(self, row: int) -> SessionId:
        """The session a tile belongs to."""
        ...

    def rows_of_session(self, session_id: SessionId) -> Rows:
        """The rows of a session's tiles."""
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
    _edges: tuple[Flags, Counts, Rows] | None  # the last answer, and of which rows

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
        for code in np.unique(tiles.session[todo]).tolist():
            rows = todo[tiles.session[todo] == code]
            session_id = tiles.session_of(int(rows[0]))
            self._meet_coarser(tiles, session_id, rows)
            self._sides[rows] = self._across(tiles, session_id, rows)
        self._known[todo] = True
        self._tell_neighbors(tiles, todo)

    def edges(self, tiles: TilesInRows, rows: Positions) -> tuple[Counts, Rows]:
        """Return the neighbours among these rows, as offsets and positions in `rows`: each pair stands in both."""
        asked = np.zeros(self._known.size, np.bool_)
        asked[rows] = True
        if self._edges is not None and np.array_equal(self._edges[0], asked):
            return self._edges[1], self._edges[2]
        counts, neighbors = self._edges_among(tiles, rows)
        offsets = mapped.filled(rows.size + 1, 0, np.int64)
        np.cumsum(counts, out=offsets[1:])
        self._edges = asked, offsets, neighbors
        return self._edges[1], self._edges[2]

    def _edges_among(self, tiles: TilesInRows, rows: Positions) -> tuple[npt.NDArray[np.integer], Rows]:
        """Return how many neighbours each of these rows has among them, and their positions, one row after another."""
        position = np.full(self._known.size + 1, NO_ROW, np.int32)  # the last one stands for NO_ROW
        position[rows] = np.arange(rows.size, dtype=np.int32)
        counts, neighbors, end = np.empty(rows.size, np.int8), mapped.room(SIDES_MAX * rows.size, np.int32), 0
        for start in range(0, rows.size, BLOCK_ROWS):
            block = slice(start, start + BLOCK_ROWS)
            there = position[self._sides[rows[block]]]
            beside = there != NO_ROW
            counts[block] = np.count_nonzero(beside, axis=1)
            found = there[beside]
            neighbors[end : end + found.size] = found
            end += found.size
        neighbors = neighbors[:end]
        resolution = resolutions_of(tiles.cell[rows]).astype(np.int8)
        if not rows.size or resolution.min() == resolution.max():
            return counts, neighbors
        # Only the finer one of two of different resolutions names the other: the pair is told from there, too.
        sources = np.repeat(np.arange(rows.size, dtype=np.int32), counts)
        coarser = resolution[neighbors] < resolution[sources]
        sources, neighbors = (
            np.concatenate((sources, neighbors[coarser])),
            np.concatenate((neighbors, sources[coarser])),
        )
        order = np.argsort(sources, kind="stable")
        return np.bincount(sources, minlength=rows.size), neighbors[order]

    def _clear(self) -> None:
        self._sides = np.empty((0, SIDES_MAX), np.int32)
        self._known = np.empty(0, np.bool_)
        self._gone, self._resolutions, self._edges = [], {}, None

    def _grow(self, rows: int) -> None:
        more = rows - self._known.size
        if more > 0:
            more = max(more, round(GROWTH_SHARE * self._known.size))
            self._sides = mapped.grown(self._sides, more, NO_ROW)
            self._known = mapped.grown(self._known, more, False)

    def _drop_gone(self, tiles: TilesInRows) -> None:
        if not self._gone:
            return
        for session in self._resolutions.keys() - tiles.cells_of_session.keys():
            del self._resolutions[session]
        is_gone = np.zeros(self._known.size + 1, np.bool_)
        is_gone[self._gone] = True
        beside_gone = is_gone[self._sides]
        self._sides[beside_gone] = NO_ROW
        # What was split or merged is followed by others in its place.
        self._known &= ~beside_gone.any(axis=1)
        self._sides[self._gone] = NO_ROW
        self._gone.clear()
        self._edges = None

    def _meet_coarser(self, tiles: TilesInRows, session_id: SessionId, new: Positions) -> None:
        """Note a session's resolutions, and have its finer tiles beside new coarser ones look again."""
        resolutions = resolutions_of(tiles.cell[new])
        here = int(resolutions.min()), int(resolutions.max())
        coarsest, finest = self._resolutions.get(session_id, here)
        self._resolutions[session_id] = min(coarsest, here[0]), max(finest, here[1])
        for resolution in np.unique(resolutions[resolutions < finest]).tolist():
            cells = tiles.cell[new[resolutions == resolution]].tolist()
            around = {beside for cell in cells for beside in h3.grid_disk(cell, 1)}
            rows = tiles.rows_of_session(session_id)
            finer = rows[resolutions_of(tiles.cell[rows]) > resolution]
            is_beside = np.isin(ancestors_of(tiles.cell[finer], resolution), cell_array(around))
            self._known[finer[is_beside]] = False

    def _across(self, tiles: TilesInRows, session_id: SessionId, rows: Positions) -> Rows:
        """Return the tiles across the sides of some tiles of a session, one row each, NO_ROW where there is none."""
        index, (coarsest, _) = tiles.cells_of_session[session_id], self._resolutions[session_id]
        disks = [h3.grid_disk(cell, 1) for cell in tiles.cell[rows].tolist()]
        here = np.repeat(np.arange(rows.size), [len(disk) for disk in disks])
        beside = np.array([cell for disk in disks for cell in disk], np.int64)
        found = index.rows_of(beside)
        resolutions = resolutions_of(beside)
        for resolution in range(int(resolutions.max()) - 1, coarsest - 1, -1):
            open_sides = np.flatnonzero((found == NO_ROW) & (resolutions > resolution))
            found[open_sides] = index.rows_of(ancestors_of(beside[open_sides], resolution))
        kept = (found != NO_ROW) & (found != rows[here])
        # A coarse tile may lie across several sides; it counts once.
        pairs = np.unique(np.stack((here[kept], found[kept]), axis=1), axis=0)
        starts = np.searchsorted(pairs[:, 0], np.arange(rows.size))
        sides = np.full((rows.size, SIDES_MAX), NO_ROW, np.int32)
        sides[pairs[:, 0], np.arange(len(pairs)) - starts[pairs[:, 0]]] = pairs[:, 1]
        return sides

    def _tell_neighbors(self, tiles: TilesInRows, rows: Positions) -> None:
        """Write these rows into their neighbours of the same resolution, where they are not known yet."""
        sides = self._sides[rows]
        told, new = sides[sides != NO_ROW], np.repeat(rows, (sides != NO_ROW).sum(axis=1))
        same = resolutions_of(tiles.cell[told]) == resolutions_of(tiles.cell[new])
        told, new = told[same], new[same]
        for _ in range(SIDES_MAX):  # a neighbour hears of one new tile after the other
            missing = ~(self._sides[told] == new[:, np.newaxis]).any(axis=1)
            told, new = told[missing], new[missing]
            if not told.size:
                return
            which, first = np.unique(told, return_index=True)
            self._sides[which, np.argmax(self._sides[which] == NO_ROW, axis=1)] = new[first]
