"""Owns the replay of the day: a simulated clock at an adjustable pace, and the position records of each step of it."""

from dataclasses import dataclass

import numpy as np

from subgraph.demo.flights import DAY_SECONDS, Flights, Floats, Rows

STEP_SECONDS_MAX = 3600.0
"""Longest simulated step. A driver that stalls for longer slows the simulated day instead of making one huge batch."""

INTERVAL_SECONDS_MIN = 1.0
"""With the longest step, this bounds a batch: 3,600 records of each aircraft aloft."""

GOLDEN_RATIO_CONJUGATE = 0.6180339887498949


@dataclass(frozen=True, slots=True, eq=False)
class PositionRecords:
    """Positions as columns, in order of simulated time; `flight` is a row of the day's flights."""

    flight: Rows
    second_of_day: Floats
    lat: Floats
    lng: Floats

    def __len__(self) -> int:
        return len(self.flight)


class Replay:
    """Every aircraft aloft reports each `interval_seconds` of simulated time, at its own phase, so the load is smooth.

    The clock counts simulated seconds since the midnight before the start and does not wrap; the second of day is its
    remainder by the day, so the day repeats. The pace, simulated seconds per real second, may change between steps.
    """

    def __init__(
        self, flights: Flights, start_second_of_day: float, interval_seconds: float = 10.0, pace: float = 1.0
    ) -> None:
        if not 0 <= start_second_of_day < DAY_SECONDS:
            raise ValueError(f"the start must be a second of day from 0 to below {DAY_SECONDS}")
        if not interval_seconds >= INTERVAL_SECONDS_MIN:
            raise ValueError(f"the interval must be at least {INTERVAL_SECONDS_MIN:g} s")
        self.flights = flights
        self.interval_seconds = interval_seconds
        self.pace = pace
        self.clock_seconds = float(start_second_of_day)
        # Multiples of the golden ratio stay evenly spread for any run of rows, and rows lie in order of departure.
        self._phase_seconds = np.mod(np.arange(len(flights)) * GOLDEN_RATIO_CONJUGATE, 1.0) * interval_seconds

    @property
    def second_of_day(self) -> float:
        """The simulated time of day that the last step ended at."""
        return self.clock_seconds % DAY_SECONDS

    def advance(self, real_seconds: float) -> PositionRecords:
        """Move the clock by real time at the pace, `STEP_SECONDS_MAX` at most, and answer the records of that step.

        Raises:
            ValueError: the time or the pace is negative; the clock stays where it is.
        """
        until_seconds = self.clock_seconds + min(real_seconds * self.pace, STEP_SECONDS_MAX)
        records = self.records(self.clock_seconds, until_seconds)
        self.clock_seconds = until_seconds
        return records

    def records(self, after_seconds: float, until_seconds: float) -> PositionRecords:
        """The records of the simulated step (after, until]; adjoining steps neither repeat nor omit one.

        Raises:
            ValueError: the step is negative or longer than `STEP_SECONDS_MAX`.
        """
        if not 0 <= until_seconds - after_seconds <= STEP_SECONDS_MAX:
            raise ValueError(f"a step must be from 0 to {STEP_SECONDS_MAX:g} simulated seconds")
        rows = self._aloft_within(after_seconds, until_seconds)
        # Report k of a row is due at phase + k * interval. Both ends count by one formula, so steps fit seamlessly.
        first = self._reports_due(rows, after_seconds) + 1
        count = self._reports_due(rows, until_seconds) + 1 - first
        flight = np.repeat(rows, count)
        nth = np.arange(len(flight)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(first, count)
        due_seconds = self._phase_seconds[flight] + nth * self.interval_seconds
        second_of_day = np.mod(due_seconds, DAY_SECONDS)
        aloft = self.flights.elapsed_seconds(flight, second_of_day) < self.flights.duration_seconds[flight]
        order = np.argsort(due_seconds[aloft], kind="stable")
        flight, second_of_day = flight[aloft][order], second_of_day[aloft][order]
        lat, lng = self.flights.positions(flight, second_of_day)
        return PositionRecords(flight, second_of_day, lat, lng)

    def _aloft_within(self, after_seconds: float, until_seconds: float) -> Rows:
        # Aloft at the end, or landed since the start: less time since departure than flight and step take together.
        elapsed = np.mod(until_seconds - self.flights.departure_second, DAY_SECONDS)
        return np.flatnonzero(elapsed <= self.flights.duration_seconds + (until_seconds - after_seconds))

    def _reports_due(self, rows: Rows, clock_seconds: float) -> Rows:
        intervals: Floats = np.floor((clock_seconds - self._phase_seconds[rows]) / self.interval_seconds)
        return intervals.astype(np.intp)
