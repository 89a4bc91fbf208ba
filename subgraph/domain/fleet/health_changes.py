"""Owns what there is to tell of tiles' health: what differs from what was told last, per session, and in bounds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.health import HEALTHS, TileHealth, health_codes
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.ids import SessionId, TileId

SESSIONS_PER_LOOK_MAX = 50
"""Sessions that one look tells of; of more, the others come first at the next one."""
TILES_NAMED_MAX = 100
"""A change counts all tiles of its session, and names so many."""
TOLD_AGAIN_AFTER_MS = 10_000
"""A tile that was told of is not told of again before: one that is as it was by then has not changed."""

Rows = npt.NDArray[np.intp]
NEVER_MS = -TOLD_AGAIN_AFTER_MS


@dataclass(frozen=True, slots=True)
class HealthChange:
    """Tiles of a session whose health differs from what was told; of `named`: the tile, what it was, what it is."""

    session_id: SessionId
    rows: Rows
    named: tuple[tuple[TileId, TileHealth, TileHealth], ...]
    tiles_by_health: Mapping[TileHealth, int]


class ToldHealth:
    """The health of the tiles of one picture as it was told last; a tile is as it is when it is first seen."""

    def __init__(self, fleet: Fleet, now_ms: int, report_interval_ms: int) -> None:
        self._report_interval_ms = report_interval_ms
        self._tiles: TileTable = fleet.tiles
        self._codes = np.empty(0, np.int8)
        self._told_at_ms = np.empty(0, np.int64)
        self._cell = np.empty(0, np.int64)
        self._session = np.empty(0, np.int32)
        self._seen = np.empty(0, np.int8)
        self._last_session = -1
        self._look(fleet, now_ms)

    def is_of(self, fleet: Fleet) -> bool:
        """Whether this is the picture it was told of: in another one, rows mean other tiles."""
        return fleet.tiles is self._tiles

    def changes(self, fleet: Fleet, now_ms: int) -> list[HealthChange]:
        """What there is to tell now, of some sessions; it counts as told when `note` is told so."""
        self._look(fleet, now_ms)
        is_due = (self._seen != self._codes) & (now_ms - self._told_at_ms >= TOLD_AGAIN_AFTER_MS)
        rows = np.flatnonzero(is_due & self._tiles.in_force())
        waiting = np.unique(self._session[rows])
        # In turns, so that no session waits for ever behind those whose tiles change all the time.
        turn = np.roll(waiting, -int(waiting.searchsorted(self._last_session, side="right")))[:SESSIONS_PER_LOOK_MAX]
        return [self._change(rows[self._session[rows] == session]) for session in turn.tolist()]

    def note(self, changes: Sequence[HealthChange], now_ms: int) -> None:
        """Remember that these were told."""
        for one in changes:
            self._codes[one.rows] = self._seen[one.rows]
            self._told_at_ms[one.rows] = now_ms
            self._last_session = int(self._session[one.rows[0]])

    def _look(self, fleet: Fleet, now_ms: int) -> None:
        used, before = self._tiles.rows_used, self._codes.size
        self._seen = health_codes(fleet, np.arange(used), now_ms, self._report_interval_ms)
        cell, session = self._tiles.cell[:used].copy(), self._tiles.session[:used].copy()
        is_new = np.ones(used, np.bool_)
        is_new[:before] = (cell[:before] != self._cell) | (session[:before] != self._session)
        self._cell, self._session = cell, session
        codes, told_at_ms = self._seen.copy(), np.full(used, NEVER_MS, np.int64)
        is_known = np.flatnonzero(~is_new)
        codes[is_known], told_at_ms[is_known] = self._codes[is_known], self._told_at_ms[is_known]
        self._codes, self._told_at_ms = codes, told_at_ms

    def _change(self, rows: Rows) -> HealthChange:
        some = rows[:TILES_NAMED_MAX]
        before, after = self._codes[some].tolist(), self._seen[some].tolist()
        counts = np.bincount(self._seen[rows], minlength=len(HEALTHS)).tolist()
        return HealthChange(
            self._tiles.session_of(int(rows[0])),
            rows,
            tuple(
                (self._tiles.id_of(row), HEALTHS[was], HEALTHS[now])
                for row, was, now in zip(some.tolist(), before, after, strict=True)
            ),
            {health: count for health, count in zip(HEALTHS, counts, strict=True) if count},
        )
