"""Owns how long ended terms are kept: the process that leads deletes older ones in small batches."""

import asyncio
import logging
from dataclasses import dataclass

from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.history.term_history import TERMS_PER_WRITE_MAX, TermHistory
from subgraph.operations.interruptions import Interruption

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
REST_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class HistoryRetention:
    """Forgets ended terms. `run` must be kept running."""

    history: TermHistory
    view: FleetView
    candidacy: Candidacy
    retention_ms: int

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        interruption = Interruption(logger, "the sweep of old history")
        while True:
            if self.candidacy.leads:
                with interruption.logged():
                    await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Delete all terms that ended before the retention. Returns how many they were.

        Raises:
            Unavailable: SQL does not answer, or the live store's time is not known.
        """
        ended_before_ms, swept = self.view.now_ms() - self.retention_ms, 0
        while True:
            deleted = await self.history.sweep(ended_before_ms, TERMS_PER_WRITE_MAX)
            swept += deleted
            if deleted < TERMS_PER_WRITE_MAX:
                return swept
            await asyncio.sleep(REST_SECONDS)
