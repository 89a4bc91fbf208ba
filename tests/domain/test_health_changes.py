"""What is told of tiles' health: what differs, per session, in turns and in bounds; what flaps is told seldom."""

from collections.abc import Sequence

from subgraph.domain.fleet.health import TileHealth
from subgraph.domain.fleet.health_changes import (
    SESSIONS_PER_LOOK_MAX,
    TILES_NAMED_MAX,
    TOLD_AGAIN_AFTER_MS,
    HealthChange,
    ToldHealth,
)
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import SessionId, TileId
from tests.support.fleets import SESSION, TENANT, A, fleet_of, held, pod, tile, tile_ids

REPORT_MS = 1_000
FRESH_MS, STALE_MS = 1_000, 100_000
STALE, HEALTHY = TileHealth.STALE, TileHealth.HEALTHY


def fleet(tiles: Sequence[TileId]) -> Fleet:
    """Tiles that a pod has owned since the first moment, and never reported."""
    return fleet_of({one: tile(owner=held(A, 1)) for one in tiles}, {A: pod()})


def looks(told: ToldHealth, of: Fleet, now_ms: int) -> list[HealthChange]:
    changes = told.changes(of, now_ms)
    told.note(changes, now_ms)
    return changes


def test_the_first_look_only_notes() -> None:
    of = fleet(tile_ids(3))
    assert looks(ToldHealth(of, STALE_MS, REPORT_MS), of, STALE_MS) == []


def test_tiles_that_change_together_are_told_together_and_once() -> None:
    of = fleet(tile_ids(3))
    told = ToldHealth(of, FRESH_MS, REPORT_MS)
    (change,) = looks(told, of, STALE_MS)
    assert change.session_id == SESSION
    assert change.named == tuple((one, HEALTHY, STALE) for one in tile_ids(3))
    assert change.tiles_by_health == {STALE: 3}
    assert looks(told, of, STALE_MS + TOLD_AGAIN_AFTER_MS) == []


def test_what_was_not_noted_as_told_is_told_again() -> None:
    of = fleet(tile_ids(1))
    told = ToldHealth(of, FRESH_MS, REPORT_MS)
    assert len(told.changes(of, STALE_MS)) == len(told.changes(of, STALE_MS)) == 1


def test_a_tile_that_flaps_is_told_of_once_in_a_while_and_not_at_all_if_it_is_as_it_was() -> None:
    of, (one,) = fleet(tile_ids(1)), tile_ids(1)
    told = ToldHealth(of, FRESH_MS, REPORT_MS)
    assert len(looks(told, of, STALE_MS)) == 1
    row = of.tiles.row(one)
    assert row is not None
    events = 0
    for number in range(10):
        now_ms = STALE_MS + 500 * (number + 1)
        of.tiles.reported_at_ms[row] = now_ms if number % 2 else 0
        events += len(looks(told, of, now_ms))
    assert events == 0
    later_ms = STALE_MS + TOLD_AGAIN_AFTER_MS
    of.tiles.reported_at_ms[row] = later_ms
    (change,) = looks(told, of, later_ms)
    assert change.named == ((one, STALE, HEALTHY),)


def test_a_fleet_that_changes_all_at_once_is_told_of_in_bounded_events_a_look_until_all_is_told() -> None:
    sessions = [SessionId(f"session-{number:03}") for number in range(SESSIONS_PER_LOOK_MAX + 20)]
    of = fleet([one for session in sessions for one in tile_ids(2, session)] + tile_ids(TILES_NAMED_MAX + 50))
    told = ToldHealth(of, FRESH_MS, REPORT_MS)
    first, second, third = (looks(told, of, STALE_MS + number) for number in range(3))
    assert (len(first), len(second), len(third)) == (SESSIONS_PER_LOOK_MAX, 21, 0)
    (largest,) = [one for one in (*first, *second) if one.session_id == SESSION]
    assert (largest.rows.size, len(largest.named)) == (TILES_NAMED_MAX + 50, TILES_NAMED_MAX)
    assert {one.session_id for one in (*first, *second)} == {*sessions, SESSION}


def test_tiles_that_retire_or_have_just_come_have_not_changed() -> None:
    of = fleet(tile_ids(2))
    told = ToldHealth(of, FRESH_MS, REPORT_MS)
    first, second = tile_ids(2)
    row = of.tiles.row(first)
    assert row is not None
    of.tiles.write(row, tile(retiring=True, draining=held(A, 1), last_epoch=1), 11, -1)
    of.tiles.write(of.tiles.add(tile_ids(1, SessionId("other"))[0], TENANT), tile(), 11, -1)
    (change,) = looks(told, of, STALE_MS)
    assert [one for one, _, _ in change.named] == [second]


def test_another_picture_is_not_compared_with_the_one_before() -> None:
    of = fleet(tile_ids(1))
    told = ToldHealth(of, FRESH_MS, REPORT_MS)
    assert told.is_of(of)
    assert not told.is_of(fleet(tile_ids(1)))
