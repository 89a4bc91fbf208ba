"""Loads of many pods come in together as they would one by one; those of no term in force are passed over."""

import math
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from subgraph.domain.fleet.ingestion import SMOOTHING
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import PodId, SessionId, TileId, parse_tile_id
from subgraph.domain.load_report import LoadReport, join_reports, pack_report
from subgraph.domain.loads import LOADS_PER_REPORT_MAX
from tests.support.fleets import T1, A, B, fleet_of, held, pod, tile, tile_ids

OTHER = SessionId("other")
OWNED = {one: held(pod_id, epoch) for one, pod_id, epoch in zip(tile_ids(6), (A, B) * 3, range(5, 11), strict=True)}
OWNED |= {one: held(A, 3) for one in tile_ids(2, OTHER)}
TILES = [*OWNED, tile_ids(7)[6], *tile_ids(1, SessionId("unknown"))]


class Load(NamedTuple):
    """One entry of a report."""

    tile_id: TileId
    epoch: int
    rate: float


def report_of(pod_id: PodId, loads: list[Load]) -> LoadReport:
    places = [parse_tile_id(load.tile_id) for load in loads]
    return pack_report(
        pod_id,
        [session for session, _ in places],
        [cell for _, cell in places],
        [load.epoch for load in loads],
        [load.rate for load in loads],
        [10 * load.rate for load in loads],
        [int(load.rate) for load in loads],
        [2 * int(load.rate) for load in loads],
    )


def fleet() -> Fleet:
    return fleet_of({one: tile(owner=OWNED.get(one)) for one in TILES[:-1]}, {A: pod(), B: pod()})


LOADS = st.builds(Load, st.sampled_from(TILES), st.integers(3, 11), st.floats(0, 1e6))
REPORTS = st.lists(
    st.tuples(
        st.sampled_from([A, B, PodId("unknown")]), st.lists(LOADS, max_size=6, unique_by=lambda load: load.tile_id)
    ),
    max_size=8,
)


@given(reports=REPORTS)
def test_many_reports_at_once_come_to_the_same_as_one_entry_after_the_other(
    reports: list[tuple[PodId, list[Load]]],
) -> None:
    one = fleet()
    columns, malformed = join_reports([(at, report_of(*report)) for at, report in enumerate(reports, 1)])
    taken = one.ingest(columns).size
    assert malformed == []
    smoothed: dict[TileId, float] = {}
    last: dict[TileId, tuple[float, int]] = {}
    count = 0
    for at, (pod_id, loads) in enumerate(reports, 1):
        for load in loads:
            owner = OWNED.get(load.tile_id)
            if owner and (owner.pod_id, owner.epoch) == (pod_id, load.epoch):
                before = smoothed.get(load.tile_id, load.rate)
                smoothed[load.tile_id] = before + SMOOTHING * (load.rate - before)
                last[load.tile_id] = load.rate, at
                count += 1
    assert taken == count
    for tile_id in TILES[:-1]:
        row = one.tiles.row(tile_id)
        assert row is not None
        if tile_id not in last:
            assert math.isnan(one.tiles.smoothed[row])
            continue
        rate, at = last[tile_id]
        assert one.tiles.smoothed[row] == pytest.approx(smoothed[tile_id])
        assert one.tiles.records_per_second[row] == rate
        assert one.tiles.bytes_per_second[row] == 10 * rate
        assert one.tiles.volume_bytes[row] == int(rate)
        assert one.tiles.backlog[row] == 2 * int(rate)
        assert one.tiles.reported_at_ms[row] == at


def test_nothing_reported_is_nothing_taken() -> None:
    one = fleet()
    assert one.ingest(join_reports([])[0]).size == 0
    assert one.ingest(join_reports([(1, report_of(A, []))])[0]).size == 0


def test_a_malformed_report_is_left_out_whole_and_told_by_its_place() -> None:
    good = report_of(A, [Load(T1, 5, 1.0)])
    bad = report_of(A, [Load(T1, 5, 2.0), Load(tile_ids(2)[1], 5, -1.0)])
    columns, malformed = join_reports([(1, bad), (2, good), (3, bad), (4, good)])
    assert columns.at_ms.tolist() == [2, 4]
    assert columns.records_per_second.tolist() == [1.0, 1.0]
    assert [one.index for one in malformed] == [0, 2]
    assert "records_per_second" in malformed[0].why


def test_a_report_has_no_more_tiles_than_one_over_graphql() -> None:
    count = LOADS_PER_REPORT_MAX + 1
    zeros, session = [0] * count, SessionId("s")
    _, malformed = join_reports([(1, pack_report(A, [session] * count, *[zeros] * 6))])
    assert [one.index for one in malformed] == [0]
    _, malformed = join_reports([(1, pack_report(A, [session] * (count - 1), *[zeros[1:]] * 6))])
    assert malformed == []
