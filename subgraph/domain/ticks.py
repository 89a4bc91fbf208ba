"""Owns when a session ticks: on the grid of its interval since its creation; missed ticks are merged into the last."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick: the how manieth it is on the session's grid, and how many before it were not told."""

    number: int
    missed: int
    next_at: datetime


def tick_due(created_at: datetime, interval: timedelta, next_at: datetime | None, now: datetime) -> Tick | None:
    """The tick that a session is due, or None.

    Args:
        created_at: when the session was created, which is tick 0, never told.
        interval: from tick to tick.
        next_at: when the next one is to be told; None: none was told yet.
        now: the time.
    """
    number = (now - created_at) // interval
    expected = 1 if next_at is None else (next_at - created_at) // interval
    if number < expected:
        return None
    return Tick(number, number - expected, created_at + (number + 1) * interval)
