"""The day of flights: what the file holds, who is aloft, and where the great circles lead."""

import h3
import numpy as np
import pytest

from subgraph.demo.flights import (
    ALLOWANCE_SECONDS,
    CRUISE_KNOTS,
    DAY_SECONDS,
    Flights,
    flights_from_csv,
    load_flights,
)

NOON = DAY_SECONDS / 2

AIRPORTS = """airport,latitude,longitude,utc_offset_hours
ANC,61.1743,-149.9962,-8
HNL,21.3187,-157.9224,-10
JFK,40.6398,-73.7789,-4
LAX,33.9425,-118.4081,-7
"""


def day_of(*flights: str) -> Flights:
    return flights_from_csv("\n".join([AIRPORTS, "departure_minute,origin,destination", *flights]) + "\n")


def kilometres(lat: float, lng: float, other_lat: float, other_lng: float) -> float:
    return float(h3.great_circle_distance((lat, lng), (other_lat, other_lng), unit="km"))


def test_the_day_has_every_flight_and_every_airport() -> None:
    flights = load_flights()
    assert len(flights) == 16_991
    assert len(flights.airport_codes) == 221
    assert {*flights.origin.tolist(), *flights.destination.tolist()} == set(range(221))


def test_about_two_thousand_are_aloft_at_noon_and_few_before_dawn() -> None:
    flights = load_flights()
    assert len(flights.aloft(NOON)) == 2_015
    assert len(flights.aloft(5 * 3600)) < 300


def test_departures_move_from_the_clock_of_the_origin_to_the_clock_of_the_day() -> None:
    flights = day_of("480,JFK,LAX", "480,LAX,JFK", "480,ANC,LAX", "480,HNL,LAX")
    assert (flights.departure_second / 3600).tolist() == [8, 11, 12, 14]


def test_a_late_departure_in_the_west_is_early_on_the_circular_day() -> None:
    flights = day_of("1380,HNL,LAX")
    assert flights.departure_second.tolist() == [5 * 3600]


def test_a_flight_takes_the_allowance_and_its_distance_at_cruise_speed() -> None:
    flights = day_of("480,JFK,LAX")
    nautical_miles = kilometres(40.6398, -73.7789, 33.9425, -118.4081) / 1.852
    assert flights.distance_nautical_miles[0] == pytest.approx(nautical_miles, rel=1e-4)
    assert flights.duration_seconds[0] == pytest.approx(
        ALLOWANCE_SECONDS + nautical_miles / CRUISE_KNOTS * 3600, rel=1e-4
    )


def test_a_flight_is_aloft_from_its_departure_until_just_before_its_landing() -> None:
    flights = day_of("480,JFK,LAX")
    departure, landing = 8 * 3600.0, 8 * 3600.0 + float(flights.duration_seconds[0])
    seconds = [departure - 0.001, departure, landing - 0.001, landing]
    assert [flights.aloft(second).tolist() for second in seconds] == [[], [0], [0], []]


def test_a_flight_that_lands_after_midnight_is_aloft_on_both_sides_of_it() -> None:
    flights = day_of("1380,JFK,LAX")
    seconds = [22.9 * 3600, 23.5 * 3600, 1 * 3600, 5 * 3600]
    assert [flights.aloft(second).tolist() for second in seconds] == [[], [0], [0], []]


def test_a_flight_leads_from_origin_to_destination_and_stays_there() -> None:
    flights = load_flights()
    rows = np.arange(len(flights))
    lat, lng = flights.positions(rows, flights.departure_second)
    assert np.allclose(lat, flights.airport_lat[flights.origin], atol=1e-9)
    assert np.allclose(lng, flights.airport_lng[flights.origin], atol=1e-9)
    for late_seconds in (0, 600):
        lat, lng = flights.positions(rows, flights.departure_second + flights.duration_seconds + late_seconds)
        assert np.allclose(lat, flights.airport_lat[flights.destination], atol=1e-6)
        assert np.allclose(lng, flights.airport_lng[flights.destination], atol=1e-6)


def test_halfway_lies_on_the_great_circle_at_equal_distance_from_both_ends() -> None:
    flights = load_flights()
    rows = np.arange(0, len(flights), 97)
    lat, lng = flights.positions(rows, flights.departure_second[rows] + flights.duration_seconds[rows] / 2)
    for row, halfway_lat, halfway_lng in zip(rows, lat, lng, strict=True):
        origin, destination = flights.origin[row], flights.destination[row]
        ends = [(flights.airport_lat[airport], flights.airport_lng[airport]) for airport in (origin, destination)]
        whole = kilometres(*ends[0], *ends[1])
        assert [kilometres(halfway_lat, halfway_lng, *end) for end in ends] == pytest.approx([whole / 2] * 2, rel=1e-6)


def test_an_aircraft_keeps_one_speed() -> None:
    flights = day_of("480,HNL,JFK")
    seconds = flights.departure_second[0] + np.linspace(0, float(flights.duration_seconds[0]), 50)
    lat, lng = flights.positions(np.zeros(50, np.intp), seconds)
    steps = [kilometres(lat[i], lng[i], lat[i + 1], lng[i + 1]) for i in range(49)]
    assert steps == pytest.approx([steps[0]] * 49, rel=1e-6)


def test_positions_of_no_rows_are_empty() -> None:
    lat, lng = load_flights().positions(np.array([], np.intp), NOON)
    assert (len(lat), len(lng)) == (0, 0)


def test_the_columns_of_the_day_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_flights().departure_second[0] = 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("departure_minute,origin,destination\n1,JFK,LAX", "not enough values"),
        (AIRPORTS + "\ndeparture,origin,destination\n1,JFK,LAX", "expected a section"),
        (AIRPORTS + "\ndeparture_minute,origin,destination", "expected a section"),
        (AIRPORTS + "\ndeparture_minute,origin,destination\n1,JFK,XXX", "'XXX'"),
        (AIRPORTS + "\ndeparture_minute,origin,destination\n1,JFK,JFK", "no great circle"),
        (AIRPORTS + "\ndeparture_minute,origin,destination\nnoon,JFK,LAX", "noon"),
        (AIRPORTS + "\ndeparture_minute,origin,destination\n1,JFK,LAX\n1,JFK", "shorter"),
    ],
)
def test_a_malformed_file_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        flights_from_csv(text)


def test_a_flight_of_a_day_or_more_is_refused() -> None:
    airports = "airport,latitude,longitude,utc_offset_hours\nAAA,0,0,0\nBBB,0.1,179.9,12\n"
    with pytest.raises(ValueError, match="land within a day"):
        flights_from_csv(airports + "\ndeparture_minute,origin,destination\n1,AAA,BBB")
