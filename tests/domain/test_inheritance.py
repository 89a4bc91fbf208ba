"""Loads pass on when tiles split and merge: no load is lost, none counts twice, and health does not flap."""

import h3.api.basic_int as h3
import numpy as np
import pytest

from subgraph.domain.fleet.changes import FleetChange
from subgraph.domain.fleet.health import TileHealth, health_codes
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.retired import RETIRED_MAX, RetiredTile
from subgraph.domain.ids import TileId, tile_id
from subgraph.domain.loads import LoadBatch
from subgraph.domain.ownership import TileRecord, drop_draining
from subgraph.domain.succession import children_of, merge, split
from tests.support.fleets import SESSION, T1, T2, TENANT, A, B, fleet_of, held, pod, report, reported, snapshot, tile

REPORTED_MS = 4_000
NOW_MS = 5_000
CHILDREN = children_of(T1)
PENTAGON = tile_id(SESSION, h3.get_pentagons(3)[0])


def loaded(one: TileId = T1) -> Fleet:
    """A has reported for a tile: 70 records and 700 bytes a second, 71 bytes held, 13 records waiting."""
    fleet = fleet_of({one: tile(owner=held(A, 1))}, {A: pod(), B: pod()})
    fleet.ingest(reported(REPORTED_MS, LoadBatch(A, [one], [1], [70.0], [700.0], [71], [13])))
    return fleet


def rows_of(fleet: Fleet, *tiles: TileId) -> list[int]:
    rows = [row for one in tiles if (row := fleet.tiles.row(one)) is not None]
    assert len(rows) == len(tiles)
    return rows


def loads(fleet: Fleet, *tiles: TileId) -> dict[str, float]:
    rows = rows_of(fleet, *tiles)
    names = ("smoothed", "records_per_second", "bytes_per_second", "volume_bytes", "backlog")
    return {name: float(np.nansum(getattr(fleet.tiles, name)[rows])) for name in names}


def split_tile(fleet: Fleet, one: TileId = T1) -> dict[TileId, TileRecord]:
    record = fleet.record(one)
    assert record is not None
    after = split(one, record, fleet.version + 1, NOW_MS)
    fleet.apply(FleetChange(fleet.version, fleet.version + 10, after))
    return after


@pytest.mark.parametrize("one", [T1, PENTAGON])
def test_children_have_equal_shares_that_add_up_and_the_retired_tile_has_nothing(one: TileId) -> None:
    fleet = loaded(one)
    before = loads(fleet, one)
    children = children_of(one)
    split_tile(fleet, one)
    assert loads(fleet, *children) == pytest.approx(before)
    assert loads(fleet, one) == dict.fromkeys(before, 0.0)
    rows = rows_of(fleet, *children)
    assert fleet.tiles.smoothed[rows].tolist() == pytest.approx([70.0 / len(children)] * len(children))
    assert set(fleet.tiles.reported_at_ms[rows].tolist()) == {REPORTED_MS}
    assert fleet.pod_loads().sum() == pytest.approx(70.0)


def test_whole_numbers_are_shared_out_whole() -> None:
    fleet = loaded()
    split_tile(fleet)
    backlogs = fleet.tiles.backlog[rows_of(fleet, *CHILDREN)]
    assert (sum(backlogs), set(backlogs.tolist())) == (13, {1, 2})


def test_the_order_of_tiles_in_a_change_does_not_matter() -> None:
    fleet = loaded()
    record = fleet.record(T1)
    assert record is not None
    after = split(T1, record, 20, NOW_MS)
    fleet.apply(FleetChange(10, 30, dict(reversed(after.items()))))
    assert loads(fleet, *CHILDREN)["smoothed"] == pytest.approx(70.0)


def test_a_parent_has_the_sum_and_the_newest_report() -> None:
    fleet = loaded()
    split_tile(fleet)
    for n, child in enumerate(CHILDREN):
        row = fleet.tiles.row(child)
        fleet.ingest(reported(10_000 + n, report(A, {child: float(n)}, epoch=int(fleet.tiles.owner_epoch[row]))))
    before = loads(fleet, *CHILDREN)
    records = {child: fleet.record(child) for child in CHILDREN}
    working = {
        child: tile(owner=held(A, record.epoch_in_force), registered_resolution=4)
        for child, record in records.items()
        if record
    }
    # The tile that split is still there, and drains: its being so does not hinder what is left to it.
    after = merge(T1, working, 90, NOW_MS)
    fleet.apply(FleetChange(fleet.version, 100, after))
    assert loads(fleet, T1) == pytest.approx(before)
    assert loads(fleet, *CHILDREN) == dict.fromkeys(before, 0.0)
    assert fleet.tiles.reported_at_ms[fleet.tiles.row(T1)] == 10_006


def test_who_inherits_from_a_tile_that_never_reported_is_unknown_too() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 1))}, {A: pod()})
    split_tile(fleet)
    rows = rows_of(fleet, *CHILDREN)
    assert np.isnan(fleet.tiles.smoothed[rows]).all()
    assert not fleet.tiles.reported_at_ms[rows].any()


def test_health_does_not_flap_through_a_split() -> None:
    fleet = loaded()
    split_tile(fleet)
    rows = np.array([fleet.tiles.row(child) for child in CHILDREN])
    codes = health_codes(fleet, rows, NOW_MS + 2_900, 1_000)
    assert {list(TileHealth)[code] for code in codes} == {TileHealth.HEALTHY}


def test_a_process_that_missed_the_split_and_one_of_a_child_shares_by_area() -> None:
    fleet = loaded()
    halves = split(T1, tile(owner=held(A, 1)), 20, NOW_MS)
    first = tile(owner=held(A, 20), registered_resolution=4)
    quarters = split(CHILDREN[0], first, 40, NOW_MS)
    now = {**halves, **quarters}
    del now[T1], now[CHILDREN[0]]
    fleet.adopt(snapshot(now, {A: pod()}, version=60))
    assert loads(fleet, *now)["smoothed"] == pytest.approx(70.0)
    assert fleet.tiles.smoothed[fleet.tiles.row(CHILDREN[1])] == pytest.approx(10.0)
    assert fleet.tiles.smoothed[fleet.tiles.row(children_of(CHILDREN[0])[0])] == pytest.approx(10.0 / 7)


def test_tiles_that_come_elsewhere_inherit_nothing_from_tiles_that_go() -> None:
    fleet = loaded()
    fleet.apply(FleetChange(10, 11, {T1: None, T2: tile(owner=held(A, 9))}))
    assert np.isnan(fleet.tiles.smoothed[fleet.tiles.row(T2)])
    assert fleet.pod_loads().sum() == 0


def test_a_split_tile_leaves_the_coverage_at_once_and_its_record_when_it_is_released() -> None:
    fleet = loaded()
    assert set(fleet.tiles.coverage(SESSION)) == {h3.str_to_int(T1.rpartition(":")[2])}
    record = fleet.record(T1)
    assert record is not None
    after = split(T1, record, 20, NOW_MS)
    effects = fleet.apply(FleetChange(10, 30, after))
    assert (effects.touched, effects.removed) == (set(CHILDREN), {T1})
    assert len(fleet.tiles.coverage(SESSION)) == 7
    assert fleet.tiles.rows_in_force(SESSION).tolist() == [fleet.tiles.row(child) for child in CHILDREN]
    assert fleet.record(T1) == after[T1]
    gone = fleet.apply(FleetChange(30, 31, {T1: drop_draining(after[T1])}))
    assert (gone.touched, gone.removed) == (set(), set())
    assert fleet.record(T1) is None
    assert fleet.retired.get(T1) == RetiredTile(TENANT, NOW_MS)


def test_a_pod_is_told_what_its_new_terms_replace_and_a_draining_one_replaces_nothing() -> None:
    fleet = loaded()
    record = fleet.record(T1)
    assert record is not None
    effects = fleet.apply(FleetChange(10, 30, split(T1, record, 20, NOW_MS)))
    told = {(one.tile_id, one.replaces) for one in effects.terms_of_pod[A]}
    assert told == {(T1, ()), *((child, (T1,)) for child in CHILDREN)}
    assert {(one.tile_id, one.replaces) for one in fleet.terms_of_pod(A)} == told


def test_a_tile_that_is_there_again_is_not_remembered_as_retired() -> None:
    fleet = loaded()
    split_tile(fleet)
    fleet.apply(FleetChange(fleet.version, 31, {T1: None}))
    assert fleet.retired.get(T1) is not None
    fleet.apply(FleetChange(31, 32, {**dict.fromkeys(CHILDREN), T1: tile()}))
    assert fleet.retired.get(T1) is None


def test_a_tile_whose_going_was_missed_is_remembered_if_its_retiring_was_seen() -> None:
    fleet = loaded()
    children = {one: record for one, record in split_tile(fleet).items() if one != T1}
    fleet.adopt(snapshot(children, {A: pod()}, version=40))
    assert fleet.retired.get(T1) == RetiredTile(TENANT, NOW_MS)
    fleet.adopt(snapshot({T1: tile()}, {A: pod()}, version=50))
    assert fleet.retired.get(T1) is None


def test_the_memory_of_retired_tiles_is_bounded() -> None:
    fleet = fleet_of()
    for n in range(RETIRED_MAX + 5):
        fleet.retired.remember(TileId(str(n)), RetiredTile(TENANT, n))
    assert len(fleet.retired) == RETIRED_MAX
    assert fleet.retired.get(TileId("4")) is None
    assert fleet.retired.get(TileId("5")) == RetiredTile(TENANT, 5)
