"""Owns what the journal tells of tiles' health: once a control cycle, by whoever leads, as far as it sees.

Health lives in memory, so this is best effort: what changes while nobody leads, or while SQL is away and back again
before it answers, is not told. Whoever begins to lead, or begins its picture anew, only notes how tiles are.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.health_changes import HealthChange, ToldHealth
from subgraph.domain.journal import SessionEventType
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.history.tile_journal import TileJournal, TilesTold
from subgraph.operations.interruptions import Interruption

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class HealthJournal:
    """Tells of changes of health while this process leads. `run` must be kept running."""

    view: FleetView
    leads: Callable[[], bool]
    journal: TileJournal
    report_interval_ms: int
    interval_seconds: float
    _told: ToldHealth | None = field(default=None, init=False)

    async def run(self) -> None:
        """Look and tell until cancelled; what cannot be told now is told later, if it still holds."""
        interruption = Interruption(logger, "the telling of tiles' health", logging.INFO)
        while True:
            try:
                await self.look()
            except Unavailable as error:
                interruption.failed(error)
            else:
                interruption.succeeded()
            await asyncio.sleep(self.interval_seconds)

    async def look(self) -> int:
        """Tell what differs from what was told last; returns in how many events.

        Raises:
            Unavailable: SQL does not answer, or this process has lost touch with the fleet.
        """
        if not self.leads():
            self._told = None
            return 0
        fleet, now_ms = self.view.current(), self.view.now_ms()
        if self._told is None or not self._told.is_of(fleet):
            self._told = ToldHealth(fleet, now_ms, self.report_interval_ms)
            return 0
        told = self._told
        changes = told.changes(fleet, now_ms)
        if changes:
            await self.journal.tell_apart([_told_of(one, now_ms) for one in changes])
            told.note(changes, now_ms)
        return len(changes)


def _told_of(change: HealthChange, now_ms: int) -> TilesTold:
    return TilesTold(
        change.session_id,
        SessionEventType.TILE_HEALTH_CHANGED,
        now_ms,
        tuple({"tileId": tile, "from": was.value, "to": now.value} for tile, was, now in change.named),
        change.rows.size,
        {"tilesByHealth": {health.value: count for health, count in change.tiles_by_health.items()}},
    )
