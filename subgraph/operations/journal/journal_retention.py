"""Owns how long the journal keeps what comes by itself: whoever leads forgets older entries in small batches.

What anybody did stays as long as its session. Ticks, and what the fleet did to tiles, come for as long as a session
lives, and a session may live for ever.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from subgraph.operations.interruptions import Interruption
from subgraph.operations.ports import Clock, MonotonicClock

logger = logging.getLogger(__name__)

SWEEP_SECONDS = 60.0
ENTRIES_PER_WRITE_MAX = 500
"""Callers wait for a batch to end: this many take some milliseconds."""


class OldEntries(Protocol):
    """The journal's entries that came by themselves, in SQL."""

    async def forget_old(self, before: datetime, limit: int) -> int:
        """Remove the oldest entries of these kinds from before a moment, relayed ones alone.

        Returns:
            How many they were, at most `limit`.

        Raises:
            Unavailable: the database did not answer, or stayed busy beyond its bound.
        """
        ...


@dataclass(frozen=True, slots=True)
class JournalRetention:
    """Forgets old entries while this process leads. `run` must be kept running."""

    entries: OldEntries
    leads: Callable[[], bool]
    clock: Clock
    monotonic: MonotonicClock
    retention: timedelta

    async def run(self) -> None:
        """Sweep now and then, until cancelled."""
        interruption = Interruption(logger, "the sweep of old journal entries")
        while True:
            if self.leads():
                with interruption.logged():
                    await self.sweep()
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> int:
        """Forget all that is older than the retention; returns how many entries that were.

        Raises:
            Unavailable: SQL does not answer; what was forgotten before stays so.
        """
        before, forgotten = self.clock() - self.retention, 0
        while True:
            began = self.monotonic()
            some = await self.entries.forget_old(before, ENTRIES_PER_WRITE_MAX)
            forgotten += some
            if some < ENTRIES_PER_WRITE_MAX:
                return forgotten
            await asyncio.sleep(self.monotonic() - began)
