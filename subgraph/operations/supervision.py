"""Owns how background tasks run: those of a process, watched by name, and groups that end together."""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

logger = logging.getLogger(__name__)


class Supervisor:
    """Runs tasks that must never end. One that does is not restarted: its state is unknown, the process unhealthy."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping = False
        self.failures: dict[str, str] = {}
        """Name of a task that ended to why it did; empty while all is well."""

    def start(self, name: str, work: Coroutine[None, None, None]) -> None:
        """Run a task under a name."""
        task = asyncio.create_task(work, name=name)
        self._tasks[name] = task
        task.add_done_callback(self._note_end)

    async def stop(self) -> None:
        """Cancel all tasks, the youngest first, and wait for them to clean up."""
        self._stopping = True
        for task in reversed(self._tasks.values()):
            task.cancel()
            await asyncio.wait([task])

    def _note_end(self, task: asyncio.Task[None]) -> None:
        if self._stopping:
            return
        error = None if task.cancelled() else task.exception()
        self.failures[task.get_name()] = f"{type(error).__name__}: {error}" if error else "it ended"
        logger.critical("background task %s has died: this process needs a restart", task.get_name(), exc_info=error)


async def run_together(*works: Coroutine[Any, Any, None]) -> None:
    """Run works beside each other until one of them ends or fails; then the others are cancelled.

    A failure comes out as itself. Unlike a task group's, it never comes in the place of a cancellation: who is told to
    stop stops, also in the moment of a failure.
    """
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
