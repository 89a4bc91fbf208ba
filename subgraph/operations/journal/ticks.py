"""Owns the ticks of sessions: while this process leads, each at its interval, into the journal.

A tick and the time of the next one are written together. So whoever leads next goes on where the last one was, and
even two leaders at once would tell none twice.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from subgraph.domain.errors import Unavailable
from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.interruptions import Interruption
from subgraph.operations.ports import Clock

logger = logging.getLogger(__name__)

TICKS_PER_WRITE_MAX = 500
POLL_SECONDS = 0.25
RETRY_SECONDS = 1.0


class TickingSessions(Protocol):
    """The sessions that tick, in SQL."""

    async def tick(self, now: datetime, most: int) -> int:
        """Tell a tick of sessions that are due one, and when they are due the next; returns how many were due.

        Raises:
            Unavailable: the database did not answer, or stayed busy beyond its bound.
        """
        ...


@dataclass(frozen=True, slots=True)
class Ticker:
    """Has sessions tick. `run` must be kept running."""

    sessions: TickingSessions
    candidacy: Candidacy
    clock: Clock
    committed: Callable[[], None]

    async def run(self) -> None:
        """Tick until cancelled; ticks that cannot be told in time are told as one."""
        interruption = Interruption(logger, "the ticking of sessions")
        while True:
            try:
                if self.candidacy.leads:
                    await self.tick()
            except Unavailable as error:
                interruption.failed(error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                interruption.succeeded()
            await asyncio.sleep(POLL_SECONDS)

    async def tick(self) -> int:
        """Tell all ticks that are due, as long as this process leads; returns how many.

        Between two writes it rests for as long as one took: others write, too.

        Raises:
            Unavailable: SQL does not answer.
        """
        clock, told = asyncio.get_running_loop().time, 0
        while self.candidacy.leads:
            began = clock()
            some = await self.sessions.tick(self.clock(), TICKS_PER_WRITE_MAX)
            told += some
            if some:
                self.committed()
            if some < TICKS_PER_WRITE_MAX:
                break
            await asyncio.sleep(clock() - began)
        return told
