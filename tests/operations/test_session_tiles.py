"""A session's tiles as one: which match a query, and their sums."""

from typing import Any

import h3.api.basic_int as h3
import pytest

from subgraph.domain.coverage.cells import cell_array
from subgraph.domain.fleet.health import TileHealth
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import SessionId, TenantId, TileId, tile_id
from subgraph.operations.fleet.session_tiles import TileQuery, matching, partition_sums, session_rows
from tests.support.fleets import (
    CELLS,
    SESSION,
    T1,
    T2,
    T3,
    TENANT,
    A,
    B,
    fleet_of,
    held,
    pod,
    report,
    reported,
    tile,
    tile_ids,
)

NOW_MS = 100_000
INTERVAL_MS = 1_000
PIECE = h3.cell_to_children(CELLS[9])[0]
FINE = tile_id(SESSION, PIECE)


@pytest.fixture
def fleet() -> Fleet:
    """T1 on A and T2 on B with loads, T3 without an owner, a finer tile on A that never reported."""
    (foreign,) = tile_ids(1, SessionId("other"))
    tiles = {T1: tile(owner=held(A, 1)), T2: tile(owner=held(B, 1)), T3: tile(), FINE: tile(owner=held(A, 1))}
    fleet = fleet_of({**tiles, foreign: tile()}, {A: pod(), B: pod()})
    fleet.ingest(reported(NOW_MS, report(A, {T1: 30.0})))
    fleet.ingest(reported(NOW_MS, report(B, {T2: 10.0})))
    return fleet


def found(fleet: Fleet, **query: Any) -> set[TileId]:
    rows = session_rows(fleet, TENANT, SESSION)
    matches = matching(fleet, rows, TileQuery(**query), NOW_MS, INTERVAL_MS)
    return {fleet.tiles.id_of(row) for row in matches.tolist()}


def test_a_sessions_tiles_come_in_the_order_of_their_cells(fleet: Fleet) -> None:
    rows = session_rows(fleet, TENANT, SESSION)
    assert fleet.tiles.cell[rows].tolist() == sorted([*CELLS[:3], PIECE])


def test_another_tenants_session_has_no_tiles(fleet: Fleet) -> None:
    assert not session_rows(fleet, TenantId("stranger"), SESSION).size


def test_an_unknown_session_has_no_tiles(fleet: Fleet) -> None:
    assert not session_rows(fleet, TENANT, SessionId("nobody")).size


def test_an_empty_query_matches_all(fleet: Fleet) -> None:
    assert found(fleet) == {T1, T2, T3, FINE}


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ({"pod_id": A}, {T1, FINE}),
        ({"pod_id": "nobody"}, set()),
        ({"assigned": False}, {T3}),
        ({"assigned": True}, {T1, T2, FINE}),
        ({"resolution": h3.get_resolution(PIECE)}, {FINE}),
        ({"healths": [TileHealth.UNASSIGNED, TileHealth.STALE]}, {T3, FINE}),
        ({"healths": []}, set()),
        ({"cells": cell_array(sorted([CELLS[1], CELLS[7]]))}, {T2}),
        ({"pod_id": A, "healths": [TileHealth.HEALTHY]}, {T1}),
    ],
)
def test_only_what_matches_all_that_is_asked_is_found(
    fleet: Fleet, query: dict[str, object], matches: set[TileId]
) -> None:
    assert found(fleet, **query) == matches


def test_the_sums_are_those_of_the_sessions_tiles(fleet: Fleet) -> None:
    sums = partition_sums(fleet, session_rows(fleet, TENANT, SESSION), NOW_MS, INTERVAL_MS)
    assert (sums.tile_count, sums.unassigned_tiles, sums.records_per_second) == (4, 1, 40.0)
    assert sums.imbalance == 30 / 20
    assert {health.value: count for health, count in sums.tiles_by_health.items() if count} == {
        "UNASSIGNED": 1,
        "STALE": 1,
        "HEALTHY": 2,
    }


def test_a_session_without_tiles_has_sums_of_nothing(fleet: Fleet) -> None:
    sums = partition_sums(fleet, session_rows(fleet, TENANT, SessionId("nobody")), NOW_MS, INTERVAL_MS)
    assert (sums.tile_count, sums.imbalance) == (0, 1.0)
