"""Owns that a pod misses no change of its assignments: it subscribes, detects gaps, and starts again."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable

from subgraph.client.manager import ChangeTold, Unreachable

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.2
CHANGES_BUFFERED_MAX = 1_000
"""What is received and not applied yet; when it is full, the socket is not read, and the server cuts it off."""

Subscribe = Callable[[int | None], AsyncGenerator[ChangeTold, None]]
"""Follows from after a version, or from a snapshot."""


class Following:
    """The changes of one pod's assignments in `changes`, each once, in order, from a first snapshot on."""

    def __init__(self, subscribe: Subscribe, first: ChangeTold) -> None:
        self._subscribe = subscribe
        self._received_version = first.version
        self._after: int | None = first.version
        self._behind_since_version: int | None = None
        self._missed = asyncio.Event()
        self.changes: asyncio.Queue[ChangeTold] = asyncio.Queue(CHANGES_BUFFERED_MAX)
        self.changes.put_nowait(first)

    async def run(self) -> None:
        """Follow until cancelled, again after every interruption.

        Raises:
            LeaseRefused: the subscription belongs to an instance that is over.
        """
        while True:
            self._missed.clear()
            reading, missing = asyncio.create_task(self._read()), asyncio.create_task(self._missed.wait())
            try:
                await asyncio.wait({reading, missing}, return_when=asyncio.FIRST_COMPLETED)
                if reading.done():
                    reading.result()
            finally:
                for task in (reading, missing):
                    task.cancel()
                await asyncio.wait({reading, missing})
            await asyncio.sleep(RETRY_SECONDS)

    def hear_of(self, newest_version: int) -> None:
        """A renewal was told the newest version that concerns the pod: what does not arrive was missed."""
        if newest_version <= self._received_version or self.changes.full():
            self._behind_since_version = None
        elif self._behind_since_version == self._received_version:
            # One renewal may overtake a change that is on its way; a second one finds it here, or it is lost.
            logger.warning("a change up to %d was missed: following anew", newest_version)
            self._behind_since_version = self._after = None
            self._missed.set()
        else:
            self._behind_since_version = self._received_version

    async def _read(self) -> None:
        try:
            async with contextlib.aclosing(self._subscribe(self._after)) as changes:
                async for change in changes:
                    if change.previous_version is not None and change.previous_version != self._after:
                        self._after = None  # something is missing in between: a snapshot tells all
                        return
                    self._after = self._received_version = change.version
                    await self.changes.put(change)
        except Unreachable as error:
            logger.warning("the assignments are followed anew: %s", error)
