"""Owns when a pod must stop: its own view of its lease, by a clock that also runs while the machine sleeps."""

import sys
import time
from collections.abc import Callable

SAFETY_MARGIN_SHARE = 0.2
"""A pod stops this share of its lease before the lease can have ended: time for what is under way to be finished."""


def boot_clock_seconds() -> float:
    """Seconds since boot, including suspension; `time.monotonic` stops while the machine sleeps."""
    # On macOS CLOCK_MONOTONIC is the clock that goes on in sleep; Linux calls that one CLOCK_BOOTTIME.
    clock = time.CLOCK_MONOTONIC if sys.platform == "darwin" else time.CLOCK_BOOTTIME
    return time.clock_gettime(clock)


class LeaseClock:
    """Whether a pod may still work. A renewal counts from when it was sent: the server cannot have begun earlier."""

    def __init__(self, lease_seconds: float, clock: Callable[[], float] = boot_clock_seconds) -> None:
        self.lease_seconds = lease_seconds
        self._clock = clock
        self._stop_at_seconds = float("-inf")

    def now(self) -> float:
        """The time to pass to `renewed`, taken before the renewal is sent."""
        return self._clock()

    def renewed(self, asked_at_seconds: float) -> None:
        """The server renewed the lease on a request sent at that time."""
        stop_at = asked_at_seconds + self.lease_seconds * (1 - SAFETY_MARGIN_SHARE)
        self._stop_at_seconds = max(self._stop_at_seconds, stop_at)

    def lost(self) -> None:
        """The server said that the lease is not ours."""
        self._stop_at_seconds = float("-inf")

    @property
    def renewed_seconds_ago(self) -> float:
        """How long ago the last renewal that counts was asked for."""
        return self.lease_seconds * (1 - SAFETY_MARGIN_SHARE) - self.seconds_left

    @property
    def seconds_left(self) -> float:
        """How long the pod may still work; 0 or less: it must not."""
        return self._stop_at_seconds - self._clock()

    @property
    def is_held(self) -> bool:
        """Whether the pod may work now."""
        return self.seconds_left > 0
