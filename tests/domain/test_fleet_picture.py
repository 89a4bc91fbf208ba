"""The picture of the fleet: snapshots and ordered changes end in the same place, whatever the order they come in."""

import h3.api.basic_int as h3
import pytest

from subgraph.domain.fleet.adoption import Adoption
from subgraph.domain.fleet.changes import FleetChange
from subgraph.domain.fleet.ingestion import SMOOTHING
from subgraph.domain.fleet.picture import Fleet, GapInChanges
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import PodId, SessionId, TileId, tile_id
from subgraph.domain.loads import LoadBatch, LoadMetric
from subgraph.domain.ownership import AssignmentState, Term, TileRecord, terms_of
from subgraph.domain.suspicion import Loss, Suspicion
from tests.support.fleet_twin import PODS
from tests.support.fleet_twin import FleetTwin as Twin
from tests.support.fleets import (
    SESSION,
    T1,
    T2,
    T3,
    A,
    B,
    C,
    fleet_of,
    held,
    pod,
    report,
    reported,
    snapshot,
    term,
    tile,
    tile_ids,
)

SEEDS = range(30)


def change(previous: int, version: int, tiles: dict[TileId, TileRecord | None] | None = None) -> FleetChange:
    return FleetChange(previous, version, tiles or {})


RECORDS = [
    tile(),
    tile(capacity=2.5),
    tile(last_epoch=7),
    tile(owner=held(A, 7)),
    tile(owner=term(A, 7, ready=True, at=5)),
    tile(owner=held(A, 7, load=2.5)),
    tile(owner=held(A, 7), next=term(B, 9)),
    tile(owner=held(A, 7), next=term(B, 9, ready=True), capacity=1.0),
    tile(owner=held(B, 9), draining=held(A, 7, draining_since_ms=30)),
    tile(draining=held(A, 7, draining_since_ms=30), retiring=True, last_epoch=7),
    tile(pin=A, required={"gpu": "yes"}, forbidden=(B, C), suspicion=Suspicion((Loss(A, 7),), 1, 60_007)),
    tile(draining=held(A, 7, draining_since_ms=30), retiring=True, last_epoch=7, retired_at_ms=30),
    tile(owner=term(A, 7, ready=True, at=5), replaces=(T2, T3), registered_resolution=0, pin=A),
]


@pytest.mark.parametrize("record", RECORDS)
def test_a_record_is_read_from_the_columns_as_it_was_written(record: TileRecord) -> None:
    fleet = fleet_of({T1: record}, {A: pod(), B: pod()})
    assert fleet.record(T1) == record
    assert fleet.record(T2) is None


@pytest.mark.parametrize("before", RECORDS)
@pytest.mark.parametrize("after", RECORDS)
def test_nothing_of_the_former_record_stays(before: TileRecord, after: TileRecord) -> None:
    fleet = fleet_of({T1: before}, {A: pod(), B: pod()})
    fleet.apply(change(10, 11, {T1: after}))
    assert fleet.record(T1) == after


def test_a_change_that_follows_another_one_is_refused_whole() -> None:
    fleet = fleet_of({T1: tile()}, {A: pod()})
    for previous in (9, 11):
        with pytest.raises(GapInChanges):
            fleet.apply(change(previous, 12, {T1: tile(owner=held(A, 7)), T2: tile()}))
    assert (fleet.version, fleet.record(T1), len(fleet.tiles)) == (10, tile(), 1)


def test_a_change_tells_each_pod_what_became_other_and_nothing_else() -> None:
    before = tile(owner=held(A, 7), next=term(B, 9, ready=True))
    fleet = fleet_of({T1: before, T2: tile(owner=held(A, 8)), T3: tile()}, {A: pod(), B: pod(), C: pod()})
    effects = fleet.apply(change(10, 11, {T1: tile(owner=held(B, 9), draining=held(A, 7)), T3: None}))
    assert (effects.version, effects.touched, effects.removed) == (11, {T1}, {T3})
    assert effects.terms_of_pod == {
        A: [TermChange(T1, held(A, 7), AssignmentState.DRAINING)],
        B: [TermChange(T1, held(B, 9), AssignmentState.ACTIVE)],
    }
    assert {one.id: one.concerned_at for one in fleet.pods} == {A: 11, B: 11, C: 0}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (tile(owner=held(A, 7)), tile(last_epoch=7), (held(A, 7), AssignmentState.LOST)),
        (tile(next=term(A, 7)), tile(), (term(A, 7), AssignmentState.ABORTED)),
        (tile(draining=held(A, 7)), tile(), (held(A, 7), AssignmentState.RELEASED)),
        (tile(draining=held(A, 7)), None, (held(A, 7), AssignmentState.RELEASED)),
    ],
)
def test_the_end_of_a_term_is_told_once_with_its_time(
    before: TileRecord, after: TileRecord | None, expected: tuple[Term, AssignmentState]
) -> None:
    fleet = fleet_of({T1: before}, {A: pod()})
    told = fleet.apply(FleetChange(10, 11, {T1: after}, at_ms=5_000)).terms_of_pod
    assert told == {A: [TermChange(T1, *expected, ended_at_ms=5_000)]}
    assert fleet.apply(change(11, 12, {T1: after})).terms_of_pod == {}
    assert fleet.terms_of_pod(A) == []


def test_the_terms_of_a_pod_are_all_it_should_be_doing() -> None:
    tiles = {
        T1: tile(owner=held(A, 7)),
        T2: tile(owner=held(B, 8), next=term(A, 9)),
        T3: tile(owner=held(B, 10), draining=held(A, 6)),
    }
    fleet = fleet_of(tiles, {A: pod(), B: pod()})
    assert {(one.tile_id, one.term.epoch, one.state) for one in fleet.terms_of_pod(A)} == {
        (T1, 7, AssignmentState.ACTIVE),
        (T2, 9, AssignmentState.PREPARING),
        (T3, 6, AssignmentState.DRAINING),
    }
    assert fleet.terms_of_pod(C) == []


def test_a_pod_is_not_known_before_its_record_has_come() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 7))})
    assert [(one.id, one.is_known) for one in fleet.pods] == [(A, False)]
    assert fleet.ready_pods() == []
    fleet.apply(FleetChange(10, 11, pods={A: pod()}))
    assert [(one.id, one.is_known) for one in fleet.pods] == [(A, True)]
    assert fleet.record(T1) == tile(owner=held(A, 7))


def test_a_snapshot_taken_in_bit_by_bit_is_the_picture_only_when_all_is_in() -> None:
    tiles = {one: tile(owner=held(A, epoch), last_epoch=epoch) for epoch, one in enumerate(tile_ids(5), 1)}
    fleet = fleet_of({T1: tile()}, {A: pod()})
    adoption = Adoption(snapshot(tiles, {A: pod()}, version=20))
    left = [adoption.take(2) for _ in range(3)]
    assert (left, fleet.version, len(fleet.tiles)) == ([True, True, False], 10, 1)
    effects = fleet.become(adoption)
    assert (fleet.version, effects.touched) == (20, set(tiles))
    assert {one: fleet.record(one) for one in tiles} == tiles


def test_leases_survive_a_snapshot_so_that_no_live_pod_looks_dead() -> None:
    fleet = fleet_of({}, {A: pod()})
    fleet.renew({A: 9_000}, {A: 9})
    fleet.adopt(snapshot({}, {A: pod()}, version=20))
    assert [(one.lease_expires_at_ms, one.applied_version) for one in fleet.pods] == [(9_000, 9)]


def test_a_new_pod_has_its_whole_lease_before_the_first_pulse_tells_it() -> None:
    new = pod(registered_at_ms=7_000, lease_ms=3_000)
    fleet = fleet_of({}, {A: pod()}, leases_end_at_ms=4_000)
    fleet.apply(FleetChange(10, 11, pods={B: new}))
    fleet.adopt(snapshot({}, {A: new, B: new}, version=20))
    assert [(one.lease_expires_at_ms, one.last_heartbeat_at_ms) for one in fleet.pods] == [(10_000, 7_000)] * 2


def test_a_snapshot_tells_of_tiles_whose_going_was_missed() -> None:
    effects = fleet_of({T1: tile(), T2: tile()}).adopt(snapshot({T2: tile(), T3: tile()}, version=20))
    assert (effects.version, effects.touched, effects.removed) == (20, {T2, T3}, {T1})


def test_a_lease_that_is_not_told_any_more_has_ended() -> None:
    fleet = fleet_of({}, {A: pod()})
    fleet.renew({}, {})
    assert [one.lease_expires_at_ms for one in fleet.pods] == [0]


def test_a_first_load_stands_and_later_ones_are_smoothed() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 1))}, {A: pod()})
    row = fleet.tiles.row(T1)
    fleet.ingest(reported(1_000, report(A, {T1: 10.0})))
    assert fleet.tiles.smoothed[row] == 10.0
    fleet.ingest(reported(2_000, report(A, {T1: 20.0})))
    assert fleet.tiles.smoothed[row] == pytest.approx(10.0 + SMOOTHING * 10.0)
    assert [fleet.tiles.records_per_second[row], fleet.tiles.reported_at_ms[row]] == [20.0, 2_000]


def test_only_the_owner_at_its_epoch_is_believed() -> None:
    fleet = fleet_of({T1: tile(owner=held(A, 7)), T2: tile()}, {A: pod(), B: pod()})
    assert fleet.ingest(reported(1_000, report(A, {T1: 1.0}, epoch=6))).size == 0
    assert fleet.ingest(reported(1_000, report(B, {T1: 1.0}, epoch=7))).size == 0
    assert fleet.ingest(reported(1_000, report(C, {T1: 1.0}, epoch=7))).size == 0
    assert fleet.ingest(reported(1_000, report(A, {T2: 1.0, T3: 1.0}, epoch=0))).size == 0
    assert fleet.pod_loads().sum() == 0
    assert fleet.ingest(reported(1_000, report(A, {T3: 5.0, T1: 2.0}, epoch=7))).tolist() == [fleet.tiles.row(T1)]
    assert fleet.pod_loads()[fleet.pods.row(A)] == 2.0


@pytest.mark.parametrize(
    ("metric", "expected"), [(LoadMetric.RECORDS, 1.0), (LoadMetric.BYTES, 2.0), (LoadMetric.BACKLOG, 4.0)]
)
def test_the_policy_chooses_what_counts_as_load(metric: LoadMetric, expected: float) -> None:
    fleet = Fleet(metric)
    fleet.adopt(snapshot({T1: tile(owner=held(A, 1))}, {A: pod()}))
    fleet.ingest(reported(1_000, LoadBatch(A, [T1], [1], [1.0], [2.0], [3], [4])))
    assert fleet.pod_loads().tolist() == [expected]
    assert fleet.tiles.volume_bytes[fleet.tiles.row(T1)] == 3


def test_loads_stay_through_a_move_and_through_a_snapshot() -> None:
    fleet = fleet_of({T1: tile(), T2: tile(owner=held(A, 1))}, {A: pod(), B: pod()})
    fleet.ingest(reported(1_000, report(A, {T2: 10.0})))
    fleet.apply(change(10, 11, {T2: tile(owner=held(B, 9), draining=held(A, 1))}))
    fleet.adopt(snapshot({T2: tile(owner=held(B, 9)), T3: tile()}, {B: pod()}, version=20))
    row = fleet.tiles.row(T2)
    assert [fleet.tiles.smoothed[row], fleet.tiles.reported_at_ms[row]] == [10.0, 1_000]
    assert fleet.pod_loads().tolist() == [10.0]


def test_a_tile_in_a_reused_row_begins_without_the_former_tiles_facts() -> None:
    gone = tile(owner=held(B, 1), next=term(A, 9), draining=held(C, 0), capacity=3.0)
    fleet = fleet_of({T1: gone}, {A: pod(), B: pod(), C: pod()})
    fleet.ingest(reported(1_000, report(B, {T1: 10.0})))
    row = fleet.tiles.row(T1)
    fleet.apply(change(10, 11, {T1: None}))
    assert (len(fleet.tiles), fleet.tiles.next, fleet.tiles.draining) == (0, {}, {})
    fleet.apply(change(11, 12, {T2: tile(owner=held(A, 9))}))
    assert fleet.tiles.row(T2) == row
    assert fleet.record(T2) == tile(owner=held(A, 9))
    assert fleet.pod_loads().sum() == 0
    assert fleet.tiles.reported_at_ms[row] == 0


def test_the_columns_grow_beyond_their_first_size() -> None:
    cells = h3.grid_disk(h3.latlng_to_cell(40.0, -100.0, 6), 30)
    ids = [tile_id(SESSION, cell) for cell in cells]
    fleet = fleet_of({one: tile(owner=held(A, epoch)) for epoch, one in enumerate(ids, 1)}, {A: pod()})
    assert len(fleet.tiles) == len(ids) > 2 * 1_024
    assert fleet.pod_tile_counts().tolist() == [len(ids)]
    assert {one.tile_id: one.term.epoch for one in fleet.terms_of_pod(A)} == {one: n for n, one in enumerate(ids, 1)}


def test_tiles_are_found_by_session_with_their_tenant_and_coverage() -> None:
    other = SessionId("other")
    (theirs,) = tile_ids(1, other)
    fleet = fleet_of({T1: tile(), T2: tile(), theirs: tile()})
    rows = fleet.tiles.rows_of_session(SESSION).tolist()
    assert [fleet.tiles.id_of(row) for row in rows] == [T1, T2]
    assert len(fleet.tiles.coverage(SESSION)) == 2
    fleet.apply(change(10, 11, {T1: None, theirs: None}))
    assert len(fleet.tiles.coverage(SESSION)) == 1
    assert len(fleet.tiles.coverage(other)) == 0
    assert other not in fleet.tiles.cells_of_session


def assert_same(fleet: Fleet, twin: Twin) -> None:
    assert fleet.version == twin.version
    assert {one: fleet.record(one) for one, _ in fleet.tiles.items()} == {
        one: found.record for one, found in twin.tiles.items()
    }
    assert {one.id: one.record for one in fleet.pods if one.is_known} == {
        one: found.record for one, found in twin.pods.items()
    }
    for pod_id in PODS:
        expected = [
            (one, by.epoch, state)
            for one, found in twin.tiles.items()
            for by, state in terms_of(found.record)
            if by.pod_id == pod_id
        ]
        told = [(one.tile_id, one.term.epoch, one.state) for one in fleet.terms_of_pod(pod_id)]
        assert sorted(told) == sorted(expected)
        row = fleet.pods.row(pod_id)
        owned = sum(state is AssignmentState.ACTIVE for _, _, state in expected)
        assert (0 if row is None else fleet.pod_tile_counts()[row]) == owned


@pytest.mark.parametrize("seed", SEEDS)
def test_changes_in_order_lead_to_the_twins_state(seed: int) -> None:
    twin, fleet = Twin(seed), Fleet()
    for _ in range(60):
        fleet.apply(twin.step())
        assert_same(fleet, twin)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_snapshot_read_while_changes_went_on_leads_to_the_twins_state(seed: int) -> None:
    twin, fleet = Twin(seed), Fleet()
    for _ in range(10):
        twin.step()
    torn, changes = twin.torn_snapshot(steps=8)
    fleet.adopt(torn)
    for one in changes:
        fleet.apply(one)
    assert_same(fleet, twin)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_change_of_a_pods_terms_is_told_to_it(seed: int) -> None:
    """Whoever applies nothing but what is told knows all of a pod's terms."""
    twin, fleet = Twin(seed), Fleet()
    known: dict[PodId, dict[tuple[TileId, int], AssignmentState]] = {one: {} for one in PODS}
    over = {AssignmentState.LOST, AssignmentState.RELEASED, AssignmentState.ABORTED}
    for _ in range(60):
        effects = fleet.apply(twin.step())
        for pod_id, told in effects.terms_of_pod.items():
            for one in told:
                if one.state in over:
                    del known[pod_id][one.tile_id, one.term.epoch]
                else:
                    known[pod_id][one.tile_id, one.term.epoch] = one.state
        for pod_id in PODS:
            assert known[pod_id] == {(one.tile_id, one.term.epoch): one.state for one in fleet.terms_of_pod(pod_id)}
