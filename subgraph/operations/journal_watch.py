"""Owns the notice that SQL was put back to an earlier state: what a process knows of journal and sessions is void then.

The highest position that was handed out never falls by itself. Where it did, entries are gone that were told, and
sessions are again as they were before; up to where both states are the same nobody knows.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from subgraph.domain.errors import Unavailable
from subgraph.operations.journal import Journal
from subgraph.operations.journal_feed import JournalFeed

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


@dataclass(slots=True)
class JournalWatch:
    """Looks at the journal's highest position from time to time. `run` must be kept running."""

    journal: Journal
    feed: JournalFeed
    forget_copies: Callable[[], Awaitable[None]]
    _highest: int = field(default=0, init=False)
    _owes_forgetting: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Look until cancelled; what cannot be done now is tried again."""
        while True:
            try:
                await self.look()
            except Unavailable as error:
                logger.info("whether the journal was put back is looked at later: %s", error)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """If the journal was put back, end the streams that are ahead of it, and the copies of sessions.

        Raises:
            Unavailable: SQL does not answer, or the store of copies; then the copies are ended by a later look.
        """
        position = self.feed.position
        highest = await self.journal.highest_position()
        if highest < (seen := max(self._highest, position)):
            newest = await self.journal.newest_position()
            logger.error(
                "the journal is behind what was seen of it, as after SQL was restored from a backup: position %d is "
                "the highest it has handed out, and %d was handed out before. Streams of events end, and copies of "
                "sessions; what the backup lacks stays lost",
                highest,
                seen,
            )
            if position > highest:
                self.feed.begin_anew(position, newest)
            self._owes_forgetting = True
        self._highest = highest
        if self._owes_forgetting:
            await self.forget_copies()
            self._owes_forgetting = False
