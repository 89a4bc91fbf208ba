"""Owns how rejected tokens are logged: the reason, never the token, and at a bounded rate.

Callers all get the same answer, so the log is where the operator who has set the wrong audience finds the reason.
"""

import logging
import time

from subgraph.operations.ports import MonotonicClock

logger = logging.getLogger(__name__)

QUIET_SECONDS = 30.0
"""At least this long between two lines: a caller that keeps sending bad tokens must not fill the log."""
REASON_LENGTH_MAX = 200


class Refusals:
    """The rejected tokens of one process."""

    def __init__(self, clock: MonotonicClock = time.monotonic) -> None:
        self._clock = clock
        self._logged_at = float("-inf")
        self._unlogged = 0

    def note(self, why: str) -> None:
        """Log that a token was rejected; those within the quiet time are counted in the next line."""
        now = self._clock()
        if now < self._logged_at + QUIET_SECONDS:
            self._unlogged += 1
            logger.debug("a token was not accepted: %s", why)
            return
        more = f", and {self._unlogged:,} more before it" if self._unlogged else ""
        logger.warning("a token was not accepted%s: %s", more, why[:REASON_LENGTH_MAX])
        self._logged_at, self._unlogged = now, 0
