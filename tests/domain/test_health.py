"""The health of tiles: where each bound lies, and which of several that apply is told."""

import numpy as np
import pytest

from subgraph.domain.fleet.health import HEALTHS, TileHealth, capacities, health_codes, utilizations
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodStatus
from tests.support.fleets import T1, T2, A, B, C, fleet_of, held, pod, report, reported, tile

INTERVAL_MS = 1_000
NOW_MS = 100_000
ROW = np.array([0])


def health(fleet: Fleet, now_ms: int = NOW_MS) -> TileHealth:
    return HEALTHS[int(health_codes(fleet, ROW, now_ms, INTERVAL_MS)[0])]


def loaded(load: float, record: TileRecord | None = None) -> Fleet:
    """A tile of capacity 10 by default, whose owner has reported that load just now."""
    fleet = fleet_of({T1: record or tile(owner=held(A, 1), capacity=10.0)}, {A: pod()})
    fleet.ingest(reported(NOW_MS, report(A, {T1: load})))
    return fleet


@pytest.mark.parametrize(
    ("load", "expected"),
    [
        (0.0, TileHealth.HEALTHY),
        (8.0, TileHealth.HEALTHY),
        (8.001, TileHealth.DEGRADED),
        (10.0, TileHealth.DEGRADED),
        (10.001, TileHealth.OVERLOADED),
    ],
)
def test_health_by_utilization(load: float, expected: TileHealth) -> None:
    assert health(loaded(load)) is expected


def test_a_tile_is_stale_when_its_owner_was_silent_for_more_than_three_intervals() -> None:
    assert health(loaded(1.0), NOW_MS + 3 * INTERVAL_MS) is TileHealth.HEALTHY
    assert health(loaded(1.0), NOW_MS + 3 * INTERVAL_MS + 1) is TileHealth.STALE


def test_stale_comes_before_overloaded_and_unassigned_before_all() -> None:
    assert health(loaded(99.0), NOW_MS + 4 * INTERVAL_MS) is TileHealth.STALE
    fleet = loaded(99.0)
    row = fleet.tiles.row(T1)
    assert row is not None
    fleet.tiles.write(row, tile(capacity=10.0), 11, -1)
    assert health(fleet, NOW_MS + 4 * INTERVAL_MS) is TileHealth.UNASSIGNED


def test_a_new_owner_has_three_intervals_for_its_first_report() -> None:
    record = tile(owner=held(A, 1, at=NOW_MS), capacity=10.0)
    fleet = fleet_of({T1: record}, {A: pod()})
    assert health(fleet, NOW_MS + 3 * INTERVAL_MS) is TileHealth.HEALTHY
    assert health(fleet, NOW_MS + 3 * INTERVAL_MS + 1) is TileHealth.STALE


def test_a_tile_without_a_capacity_may_carry_half_the_median_ready_pod() -> None:
    record = tile(owner=held(A, 1))
    pods = {A: pod(capacity=10.0), B: pod(capacity=30.0), C: pod(capacity=1_000.0, status=PodStatus.CORDONED)}
    fleet = fleet_of({T1: record, T2: tile(capacity=3.0)}, pods)
    assert capacities(fleet, np.array([0, 1])).tolist() == [10.0, 3.0]
    fleet.ingest(reported(NOW_MS, report(A, {T1: 9.0})))
    assert utilizations(fleet, np.array([0, 1])).tolist() == [0.9, 0.0]


def test_without_a_ready_pod_no_utilization_is_invented() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 1))}, {A: pod(status=PodStatus.DRAINING)})
    fleet.ingest(reported(NOW_MS, report(A, {T1: 9.0})))
    assert np.isnan(capacities(fleet, ROW)).all()
    assert utilizations(fleet, ROW).tolist() == [0.0]
    assert health(fleet) is TileHealth.HEALTHY
