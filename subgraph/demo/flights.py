"""Owns the demo's day of flights: loading it, who is aloft when, and where. The data's origin is in `data/README.md`.

The model. Time is a second of day on one clock, Eastern daylight time (UTC-4); departures, local in the data, are moved
to it. The day is a circle and repeats: a flight that lands after midnight is still aloft in the small hours of the same
day. A flight is aloft from leaving the gate to landing, which takes `ALLOWANCE_SECONDS` plus its great circle at
`CRUISE_KNOTS`, and it moves along that circle at one constant speed. With these values 2,015 are aloft at noon.
"""

import gzip
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import ArrayLike, NDArray

DAY_SECONDS = 86_400

CLOCK_UTC_OFFSET_HOURS = -4
"""The clock of the demo's day: where most of the flights are."""

CRUISE_KNOTS = 450.0
"""A jet airliner's usual ground speed in cruise; the day's propeller flights are flattered by it."""

ALLOWANCE_SECONDS = 30 * 60.0
"""What a flight takes beyond cruising its distance: about 15 minutes to taxi out and 15 of climb, descent, turns."""

EARTH_RADIUS_NAUTICAL_MILES = 3440.065

Rows = NDArray[np.intp]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Flights:
    """All flights of the day as columns, one row a flight in order of local departure; arrays are read-only."""

    departure_second: Floats
    duration_seconds: Floats
    distance_nautical_miles: Floats
    origin: Rows
    """Row of the origin in the airport columns; likewise `destination`."""
    destination: Rows
    airport_codes: tuple[str, ...]
    airport_lat: Floats
    airport_lng: Floats
    _start: Floats
    """Unit vectors to the origin, and at right angles to it towards the destination: the plane of the great circle."""
    _ahead: Floats
    _angle: Floats

    def __len__(self) -> int:
        return len(self.departure_second)

    def elapsed_seconds(self, rows: Rows, second_of_day: ArrayLike) -> Floats:
        """Seconds since each row's latest departure on the circular day; the second is one for all, or one per row."""
        elapsed: Floats = np.mod(np.asarray(second_of_day, np.float64) - self.departure_second[rows], DAY_SECONDS)
        return elapsed

    def aloft(self, second_of_day: float) -> Rows:
        """The rows aloft at a second of day, rising: departure included, landing not."""
        elapsed = np.mod(second_of_day - self.departure_second, DAY_SECONDS)
        return np.flatnonzero(elapsed < self.duration_seconds)

    def positions(self, rows: Rows, second_of_day: ArrayLike) -> tuple[Floats, Floats]:
        """Latitudes and longitudes in degrees of the rows, on their great circles; at the destination once landed."""
        progress = np.minimum(self.elapsed_seconds(rows, second_of_day) / self.duration_seconds[rows], 1.0)
        along = (progress * self._angle[rows])[:, np.newaxis]
        x, y, z = (np.cos(along) * self._start[rows] + np.sin(along) * self._ahead[rows]).T
        return np.degrees(np.arctan2(z, np.hypot(x, y))), np.degrees(np.arctan2(y, x))


def flights_from_csv(text: str) -> Flights:
    """The flights of a file in the format that `data/README.md` describes.

    Raises:
        ValueError: a section is missing, a value is malformed, or a flight would not land within a day.
    """
    airports_text, flights_text = text.strip().split("\n\n")
    codes, lats, lngs, offsets = _columns(airports_text, "airport,latitude,longitude,utc_offset_hours")
    minutes, origins, destinations = _columns(flights_text, "departure_minute,origin,destination")

    lat, lng = np.array(lats, np.float64), np.array(lngs, np.float64)
    clock_shift_seconds = (CLOCK_UTC_OFFSET_HOURS - np.array(offsets, np.float64)) * 3600
    row_of = {code: row for row, code in enumerate(codes)}
    try:
        origin = np.array([row_of[code] for code in origins], np.intp)
        destination = np.array([row_of[code] for code in destinations], np.intp)
    except KeyError as missing:
        raise ValueError(f"a flight names the airport {missing}, which is not in the file") from missing

    vectors = _unit_vectors(lat, lng)
    start, end = vectors[origin], vectors[destination]
    normal = np.cross(start, end)
    # Sine and cosine together keep the angle exact on the shortest hops, where the cosine alone has lost its digits.
    sine = np.linalg.norm(normal, axis=1)
    angle = np.arctan2(sine, np.sum(start * end, axis=1))
    if not np.all(sine > 0):
        raise ValueError("a flight ends where it starts: it has no great circle")
    distance = angle * EARTH_RADIUS_NAUTICAL_MILES
    duration = ALLOWANCE_SECONDS + distance / CRUISE_KNOTS * 3600
    if np.any(duration >= DAY_SECONDS):
        raise ValueError("a flight does not land within a day: on a circular day it would be in two places")
    departure = np.mod(np.array(minutes, np.float64) * 60 + clock_shift_seconds[origin], DAY_SECONDS)
    ahead = np.cross(normal / sine[:, np.newaxis], start)

    for column in (departure, duration, distance, origin, destination, lat, lng, start, ahead, angle):
        column.flags.writeable = False
    return Flights(departure, duration, distance, origin, destination, codes, lat, lng, start, ahead, angle)


@cache
def load_flights() -> Flights:
    """The day that ships with the package, read once per process."""
    path = files("subgraph.demo") / "data" / "us-flights-2001-06-13.csv.gz"
    return flights_from_csv(gzip.decompress(path.read_bytes()).decode("ascii"))


def _columns(section: str, header: str) -> tuple[tuple[str, ...], ...]:
    first, *rows = section.split("\n")
    if first != header or not rows:
        raise ValueError(f"expected a section of rows under {header!r}, found {first!r}")
    return tuple(zip(*(row.split(",") for row in rows), strict=True))


def _unit_vectors(lat: Floats, lng: Floats) -> Floats:
    phi, theta = np.radians(lat), np.radians(lng)
    return np.stack([np.cos(phi) * np.cos(theta), np.cos(phi) * np.sin(theta), np.sin(phi)], axis=1)
