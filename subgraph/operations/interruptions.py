"""Owns how work that is tried again and again tells of its interruptions: when one begins, now and then, when it ends.

A store that is away is noticed by every loop several times a second, for as long as it lasts; the log is for people.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from subgraph.domain.errors import Unavailable
from subgraph.operations.ports import MonotonicClock

TELL_AGAIN_SECONDS = 30.0
"""How long nothing more is told of an interruption, nor of a next one that follows soon."""


class Interruption:
    """What keeps one work from going on, if anything does. What is not told is logged as DEBUG."""

    def __init__(
        self,
        logger: logging.Logger,
        work: str,
        level: int = logging.WARNING,
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        """Nothing has come in the way yet.

        Args:
            logger: of whoever does the work.
            work: its name, which what is told begins with.
            level: of the lines that tell of the beginning and of the end: who is told of the one waits for the other.
            clock: how long it has lasted.
        """
        self._logger = logger
        self._work = work
        self._level = level
        self._clock = clock
        self._began_at: float | None = None
        self._told_at = float("-inf")
        self._is_told = False

    @contextmanager
    def told(self) -> Iterator[None]:
        """Do the work within: that a store is away is told, and raises no further; so is that it is back."""
        try:
            yield
        except Unavailable as error:
            self.waits(error)
        else:
            self.goes_on()

    def waits(self, why: object) -> None:
        """The work could not be done, and will be tried again."""
        now = self._clock()
        began_at = self._began_at = now if self._began_at is None else self._began_at
        if now < self._told_at + TELL_AGAIN_SECONDS:
            self._logger.debug("%s waits: %s", self._work, why)
            return
        if self._is_told:
            self._logger.log(self._level, "%s still waits, for %.0f s by now: %s", self._work, now - began_at, why)
        else:
            self._logger.log(self._level, "%s waits: %s", self._work, why)
        self._told_at, self._is_told = now, True

    def goes_on(self) -> None:
        """The work was done."""
        if self._is_told and self._began_at is not None:
            self._logger.log(self._level, "%s goes on, after %.1f s", self._work, self._clock() - self._began_at)
        self._began_at, self._is_told = None, False
