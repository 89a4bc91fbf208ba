"""Owns when SQLite's log is carried into the file: beside those who write, not by them.

Left to itself, SQLite has the commit that finds a thousand pages in the log carry them over, and wait for the disk once
more; everybody else who writes waits for it, too. A passive checkpoint on a connection of its own keeps nobody waiting.
"""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

logger = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 0.5
"""How long after a commit the log is carried into the file, with all that was committed meanwhile."""
LOG_PAGES_MAX = 10_000
"""Pages in the log, of 4 KiB, from which on a commit does it after all: under writes without any pause, a checkpoint
beside them never catches up, and only one that does lets the log begin anew."""


class SqliteCheckpoints:
    """The checkpoints of one process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(1, "sqlite-checkpoint")
        self._is_due = False
        self._coming: asyncio.Task[None] | None = None

    def note_commit(self) -> None:
        """Hear that something was committed."""
        self._is_due = True
        if self._coming is None or self._coming.done():
            self._coming = asyncio.get_running_loop().create_task(self._carry_over_soon())

    async def aclose(self) -> None:
        """Wait for the checkpoint that runs; one that was to come is left to whoever closes the file last."""
        if self._coming is not None:
            self._coming.cancel()
            await asyncio.wait([self._coming])
        await asyncio.to_thread(self._thread.shutdown)
        self._engine.dispose()

    async def _carry_over_soon(self) -> None:
        while self._is_due:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            # What is committed from here on may come too late for this one.
            self._is_due = False
            try:
                await asyncio.wrap_future(self._thread.submit(self._carry_over))
            except SQLAlchemyError as error:
                # Nothing is lost: it is in the log, and tried again after the next commit.
                logger.warning("the log was not carried into the database's file: %s", error)

    def _carry_over(self) -> None:
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")
