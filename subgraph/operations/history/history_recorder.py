"""Owns the way of terms from the live store's log into SQL: while this process leads, at least once, in small batches.

SQL away: the log grows within its bound, the fleet goes on, and metrics tell. Whoever begins to lead also compares what
is recorded with what lives, as whoever learns that the log was cut: that ends terms of a store that was emptied, and
finds those of a time before there was a history.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from subgraph.domain.errors import Unavailable
from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.history.history_comparison import TermColumns, compare, facts_of_living, living_columns
from subgraph.operations.history.term_history import TERMS_PER_WRITE_MAX, TermHistory, TermLog, facts_of
from subgraph.operations.history.tile_journal import TileJournal
from subgraph.operations.interruptions import Interruption
from subgraph.operations.ports import MonotonicClock

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECONDS = 0.3
RETRY_SECONDS = 1.0
EPOCHS_PER_READ_MAX = 5_000
REST_SECONDS_MAX = 0.1


@dataclass(slots=True)
class HistoryRecorder:
    """Records the fleet's terms while this process leads. `run` must be kept running."""

    log: TermLog
    history: TermHistory
    view: FleetView
    candidacy: Candidacy
    clock: MonotonicClock
    tile_journal: TileJournal | None = None
    _compared: tuple[int, int] | None = field(default=None, init=False)
    _rested_at_seconds: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Record until cancelled; what cannot be recorded now is tried again."""
        interruption = Interruption(logger, "history")
        while True:
            try:
                await self._turn()
            except Unavailable as error:
                interruption.failed(f"{self.view.unrecorded_changes} changes are not recorded: {error}")
                await asyncio.sleep(RETRY_SECONDS)
            else:
                interruption.succeeded()
                await asyncio.sleep(POLL_SECONDS)

    async def _turn(self) -> None:
        incarnation = self.candidacy.incarnation
        if incarnation is None:
            self._compared = None
            return
        self._rested_at_seconds = self.clock()
        await self._record_log()
        due = (incarnation, self.view.dropped_changes)
        if due != self._compared:
            if due[1]:
                logger.warning("%d changes were too many to wait for history and will not be in it", due[1])
            if await self._compare():
                self._compared = due

    async def _record_log(self) -> None:
        while True:
            stretch = await self.log.read()
            if stretch.end is None:
                return
            await self.history.record(await asyncio.to_thread(facts_of, stretch.changes))
            if self.tile_journal is not None:
                await self.tile_journal.tell(stretch.changes)
            await self.log.forget(stretch.end)
            if not stretch.has_more:
                return
            await self._rest()

    async def _compare(self) -> bool:
        """Record what differs; False: the picture began anew meanwhile, and what is left has to be compared with it."""
        recorded = await self._recorded()
        # In this order, what was recorded as living lives in the picture, or its end is in the log.
        beat, fleet = await self.view.observe()
        living, tiles = living_columns(fleet), fleet.tiles
        vanished, rows = await asyncio.to_thread(compare, recorded, living)
        await self._record_log()
        ended = 0
        for epochs in _chunks(vanished, TERMS_PER_WRITE_MAX):
            ended += await self.history.end_vanished(epochs, beat.now_ms)
            await self._rest()
        if ended:
            logger.warning("%d terms ended without a trace, and are recorded as lost", ended)
        for some in _chunks(rows, TERMS_PER_WRITE_MAX):
            if self.view.current().tiles is not tiles:
                return False
            await self.history.record(facts_of_living(fleet, some))
            await self._rest()
        return True

    async def _recorded(self) -> TermColumns:
        parts: list[TermColumns] = []
        last = -1
        while found := await self.history.living_epochs(last, EPOCHS_PER_READ_MAX):
            parts.append(TermColumns.of(found))
            last = found[-1][0]
            await self._rest()
        return TermColumns.joined(parts)

    async def _rest(self) -> None:
        """Leave half of the time to others: the control loop comes first, and so do other writers of the database."""
        worked_seconds = self.clock() - self._rested_at_seconds
        await asyncio.sleep(min(worked_seconds, REST_SECONDS_MAX))
        self._rested_at_seconds = self.clock()


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]
