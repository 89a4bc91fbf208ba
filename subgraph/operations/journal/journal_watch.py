"""Owns the notice that SQL was put back to an earlier state: what a process knows of journal and sessions is void then.

The highest position that was handed out is never below that of an entry that was there. Where it is, entries are gone
that were told, and sessions are again as they were before; up to where both states are the same nobody knows. What was
seen is also noted outside of SQL, because most backups are put back while no process runs.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from subgraph.domain.errors import Unavailable
from subgraph.operations.journal.journal import Journal
from subgraph.operations.journal.journal_feed import JournalFeed

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.5


class SeenPositions(Protocol):
    """What processes have seen of the journal, kept outside of SQL. Raises Unavailable if that does not answer."""

    async def seen(self) -> int:
        """The position that was noted last; 0 if none was, or it was forgotten."""
        ...

    async def note(self, position: int) -> None:
        """Remember that there was an entry at a position."""
        ...


@dataclass(slots=True)
class JournalWatch:
    """Looks at how far the journal reaches from time to time. `run` must be kept running."""

    journal: Journal
    feed: JournalFeed
    noted: SeenPositions
    forget_copies: Callable[[], Awaitable[None]]
    _seen: int | None = field(default=None, init=False)
    _owes_forgetting: bool = field(default=False, init=False)
    _owes_note: bool = field(default=False, init=False)

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
            Unavailable: a store does not answer; what is left to be done is done by a later look.
        """
        if self._seen is None:
            self._seen = await self.noted.seen()
        position = self.feed.position
        newest = await self.journal.newest_position()
        highest = await self.journal.highest_position()
        seen = max(self._seen, position)
        if highest < seen:
            logger.error(
                "the journal is behind what was seen of it, as after SQL was restored from a backup: position %d is "
                "the highest it has handed out, and there was an entry at %d. Streams of events end, and copies of "
                "sessions; what the backup lacks stays lost",
                highest,
                seen,
            )
            if position > highest:
                self.feed.begin_anew(position, newest)
            self._owes_forgetting = True
            seen = 0
        seen = max(seen, newest)
        self._owes_note |= seen != self._seen
        self._seen = seen
        if self._owes_forgetting:
            await self.forget_copies()
            self._owes_forgetting = False
        if self._owes_note:
            await self.noted.note(seen)
            self._owes_note = False
