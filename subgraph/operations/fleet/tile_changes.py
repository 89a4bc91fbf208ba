"""Owns the feed for maps: once a control cycle, which tiles changed owner, health or load, and which are gone."""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.changes import CycleReport
from subgraph.domain.fleet.health import health_codes
from subgraph.domain.ids import TileId
from subgraph.operations.broadcast import Broadcast
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.ports import SlowConsumer

N = TypeVar("N", np.int8, np.float64)

LOAD_CHANGE_TOLD = 0.1
"""A tile's load is told anew when it differs by this share from what was told last."""


@dataclass(frozen=True, slots=True)
class TileChanges:
    """What changed since the batch before."""

    cycle: int
    changed: frozenset[TileId]
    removed: frozenset[TileId]


class TileChangeFeed:
    """Coalesces changes per cycle for all subscribers of this process. `run` must be kept running."""

    def __init__(self, view: FleetView, report_interval_ms: int) -> None:
        self._view = view
        self._report_interval_ms = report_interval_ms
        self._touched: set[TileId] = set()
        self._removed: set[TileId] = set()
        self._told_health: npt.NDArray[np.int8] = np.empty(0, np.int8)
        self._told_load: npt.NDArray[np.float64] = np.empty(0)
        self.batches: Broadcast[TileChanges] = Broadcast()

    async def collect(self) -> None:
        """Gather what changes touch, until cancelled."""
        while True:
            try:
                with self._view.effects.reader() as effects:
                    async for effect in effects:
                        self._touched |= effect.touched
                        self._removed = (self._removed | effect.removed) - effect.touched
            except SlowConsumer:
                continue  # what was missed shows as a change of health or load at the latest

    async def run(self) -> None:
        """Send a batch after every cycle, until cancelled."""
        while True:
            try:
                with self._view.cycles.reader() as cycles:
                    async for cycle in cycles:
                        self._send(cycle)
            except SlowConsumer:
                continue

    def _send(self, cycle: CycleReport) -> None:
        if not self._view.is_current:
            return  # what is gathered meanwhile is told after the first cycle that is seen again
        touched, removed, self._touched, self._removed = self._touched, self._removed, set(), set()
        if not self.batches.has_readers:
            return
        batch = TileChanges(cycle.number, frozenset(touched | self._differing()) - removed, frozenset(removed))
        if batch.changed or batch.removed:
            self.batches.send(batch)

    def _differing(self) -> set[TileId]:
        tiles = self._view.current().tiles
        used = tiles.rows_used
        health = health_codes(self._view.current(), np.arange(used), self._view.now_ms(), self._report_interval_ms)
        load = np.nan_to_num(tiles.smoothed[:used])
        told_health, told_load = _grown(self._told_health, used), _grown(self._told_load, used)
        differs = (health != told_health) | (np.abs(load - told_load) > LOAD_CHANGE_TOLD * np.maximum(told_load, 1e-9))
        differs &= tiles.in_force()
        self._told_health = health
        self._told_load = np.where(differs, load, told_load)
        return {tiles.id_of(row) for row in np.flatnonzero(differs).tolist()}


def _grown(column: npt.NDArray[N], length: int) -> npt.NDArray[N]:
    return np.concatenate([column, np.full(max(0, length - len(column)), -1, column.dtype)])[:length]
