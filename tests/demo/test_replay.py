"""The replay: one record per aircraft and interval, whatever the steps, on a day that repeats."""

import itertools

import numpy as np
import pytest

from subgraph.demo.flights import DAY_SECONDS, load_flights
from subgraph.demo.replay import STEP_SECONDS_MAX, PositionRecords, Replay

NOON = DAY_SECONDS / 2


def keys_of(*steps: PositionRecords) -> list[tuple[int, float]]:
    return sorted(
        (flight, round(second, 3))
        for records in steps
        for flight, second in zip(records.flight.tolist(), records.second_of_day.tolist(), strict=True)
    )


def test_every_aircraft_aloft_throughout_reports_once_an_interval() -> None:
    flights = load_flights()
    throughout = set(flights.aloft(NOON)) & set(flights.aloft(NOON + 30))
    records = Replay(flights, NOON, interval_seconds=10).records(NOON, NOON + 30)
    counts = np.bincount(records.flight, minlength=len(flights))
    assert {counts[row] for row in throughout} == {3}
    assert counts.sum() - 3 * len(throughout) < 100


def test_records_are_of_aircraft_aloft_at_their_second_and_lie_where_they_fly() -> None:
    flights = load_flights()
    records = Replay(flights, NOON).records(NOON, NOON + 60)
    assert np.all((records.second_of_day > NOON - 1e-6) & (records.second_of_day < NOON + 60 + 1e-6))
    assert np.all(np.diff(records.second_of_day) >= 0)
    for index in range(0, len(records), 501):
        second = float(records.second_of_day[index])
        assert records.flight[index] in flights.aloft(second)
        lat, lng = flights.positions(records.flight[index : index + 1], second)
        assert (records.lat[index], records.lng[index]) == (lat[0], lng[0])


def test_uneven_steps_yield_exactly_what_one_step_yields() -> None:
    replay = Replay(load_flights(), NOON, interval_seconds=7)
    cuts = [NOON, NOON + 0.3, NOON + 0.3, NOON + 7, NOON + 19.99, NOON + 60]
    steps = [replay.records(a, b) for a, b in itertools.pairwise(cuts)]
    assert keys_of(*steps) == keys_of(replay.records(NOON, NOON + 60))


def test_the_day_repeats_across_midnight() -> None:
    replay = Replay(load_flights(), 0, interval_seconds=10)
    before_midnight = replay.records(DAY_SECONDS - 30, DAY_SECONDS + 30)
    assert before_midnight.second_of_day.min() < 30
    assert before_midnight.second_of_day.max() > DAY_SECONDS - 30
    assert keys_of(replay.records(NOON, NOON + 60)) == keys_of(
        replay.records(NOON + DAY_SECONDS, NOON + DAY_SECONDS + 60)
    )


def test_an_hour_in_one_step_misses_nobody_who_flew_within_it() -> None:
    flights = load_flights()
    records = Replay(flights, NOON, interval_seconds=60).records(NOON, NOON + 3600)
    seen = set(records.flight.tolist())
    for second in np.arange(NOON, NOON + 3540, 60):
        assert set(flights.aloft(float(second))) & set(flights.aloft(float(second) + 60)) <= seen


def test_load_is_smooth_within_an_interval() -> None:
    replay = Replay(load_flights(), NOON, interval_seconds=10)
    per_second = [len(replay.advance(1)) for _ in range(20)]
    assert per_second == pytest.approx([np.mean(per_second)] * 20, rel=0.1)


def test_the_clock_follows_real_time_at_the_pace() -> None:
    replay = Replay(load_flights(), DAY_SECONDS - 30, pace=60)
    replay.advance(0.25)
    assert replay.second_of_day == DAY_SECONDS - 15
    replay.pace = 10
    replay.advance(2)
    assert replay.second_of_day == 5
    replay.pace = 0
    assert len(replay.advance(10)) == 0
    assert replay.second_of_day == 5


def test_a_stalled_driver_slows_the_simulated_day() -> None:
    replay = Replay(load_flights(), 0, interval_seconds=600, pace=1000)
    replay.advance(60)
    assert replay.clock_seconds == STEP_SECONDS_MAX


def test_a_clock_that_would_run_backwards_stays_where_it_is() -> None:
    replay = Replay(load_flights(), NOON)
    with pytest.raises(ValueError, match="a step must be"):
        replay.advance(-1)
    assert replay.second_of_day == NOON


@pytest.mark.parametrize(
    ("start", "interval", "message"),
    [(DAY_SECONDS, 10, "second of day"), (-1, 10, "second of day"), (0, 0.5, "interval")],
)
def test_a_replay_out_of_bounds_is_refused(start: float, interval: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Replay(load_flights(), start, interval)


def test_a_step_beyond_the_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="a step must be"):
        Replay(load_flights(), 0).records(0, STEP_SECONDS_MAX + 1)
