"""Owns how work that is retried logs its outages: when one begins, every 30 seconds while it lasts, when it ends.

While a store is away, every loop notices it several times a second; logging each failure would flood the log.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from subgraph.domain.errors import Unavailable
from subgraph.operations.ports import MonotonicClock

LOG_AGAIN_SECONDS = 30.0
"""After a line about an outage, no other line for so long, also about a new outage that follows soon."""


class Interruption:
    """The outages of one piece of work. Failures that are not worth a line are logged as DEBUG."""

    def __init__(
        self,
        logger: logging.Logger,
        work: str,
        level: int = logging.WARNING,
        clock: MonotonicClock = time.monotonic,
    ) -> None:
        """No outage so far.

        Args:
            logger: of whoever does the work.
            work: its name, with which every line begins.
            level: of the lines about the beginning and the end; they share it, so that nobody sees the one alone.
            clock: how long it has lasted.
        """
        self._logger = logger
        self._work = work
        self._level = level
        self._clock = clock
        self._began_at: float | None = None
        self._logged_at = float("-inf")
        self._is_logged = False

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Do the work within the block: that a store is unavailable is logged, not raised; so is that it is back."""
        try:
            yield
        except Unavailable as error:
            self.failed(error)
        else:
            self.succeeded()

    def failed(self, why: object) -> None:
        """Note that the work failed, and will be retried."""
        now = self._clock()
        began_at = self._began_at = now if self._began_at is None else self._began_at
        if now < self._logged_at + LOG_AGAIN_SECONDS:
            self._logger.debug("%s waits: %s", self._work, why)
            return
        if self._is_logged:
            self._logger.log(self._level, "%s still waits, for %.0f s by now: %s", self._work, now - began_at, why)
        else:
            self._logger.log(self._level, "%s waits: %s", self._work, why)
        self._logged_at, self._is_logged = now, True

    def succeeded(self) -> None:
        """Note that the work succeeded."""
        if self._is_logged and self._began_at is not None:
            self._logger.log(self._level, "%s goes on, after %.1f s", self._work, self._clock() - self._began_at)
        self._began_at, self._is_logged = None, False
