"""Owns what the log says of tokens that are refused: why, and never what was shown; at most a line in a while.

Callers are all told the same. So whoever has set the wrong audience finds the reason here, and nowhere else.
"""

import logging
import time

from subgraph.operations.ports import MonotonicClock

logger = logging.getLogger(__name__)

QUIET_SECONDS = 30.0
"""From one line to the next: whoever shows false tokens all the time must not fill the log."""
REASON_LENGTH_MAX = 200


class Refusals:
    """The refusals of one process."""

    def __init__(self, clock: MonotonicClock = time.monotonic) -> None:
        self._clock = clock
        self._told_at = float("-inf")
        self._untold = 0

    def note(self, why: str) -> None:
        """A token was refused. What was not told is counted in the next line."""
        now = self._clock()
        if now < self._told_at + QUIET_SECONDS:
            self._untold += 1
            logger.debug("a token was not accepted: %s", why)
            return
        more = f", and {self._untold:,} more before it" if self._untold else ""
        logger.warning("a token was not accepted%s: %s", more, why[:REASON_LENGTH_MAX])
        self._told_at, self._untold = now, 0
