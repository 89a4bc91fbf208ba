"""Which tiles of a fleet are quarantined, and which forgiven: the worst suspects, no more than a bounded share."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import msgspec
import pytest

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, needs_planning
from subgraph.domain.fleet.quarantine import FORGIVEN_MAX, forgive, impose, quarantined_rows, with_quarantines
from subgraph.domain.fleet.settle import settle
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord, PodStatus
from subgraph.domain.suspicion import Loss, QuarantinePolicy, Suspicion
from tests.support.fleets import T1, T2, T3, A, B, fleet_of, held, pod, term, tile, tile_ids
from tests.support.planned_fleet import plan_fleet

POLICY = QuarantinePolicy(early_ms=60_000)
NOW_MS = 10_000_000


def suspicion(losses: int, quarantines: int = 0, until_ms: int = 0, *, last_ms: int = NOW_MS) -> Suspicion:
    return Suspicion(tuple(Loss(A, last_ms - n) for n in range(losses)[::-1]), quarantines, until_ms, losses)


def settled_of(fleet: Fleet, lost: set[PodId] | None = None) -> dict[TileId, TileRecord | None]:
    return settle(fleet, NOW_MS, lost or set(), HandoffPolicy(), POLICY)


def losses_after(record: PodRecord, *, lost: bool = False) -> int:
    """How often the tile is suspect once its pod, which had just taken it up, is settled."""
    fleet = fleet_of({T1: tile(owner=held(A, 7, acknowledged_at_ms=NOW_MS - 5_000))}, {A: record})
    after = settled_of(fleet, {A} if lost else None)[T1]
    assert after is not None
    return len(after.suspicion.losses) if after.suspicion else 0


def test_only_pods_that_died_at_work_count() -> None:
    assert losses_after(pod(), lost=True) == 1
    assert losses_after(pod().with_status(PodStatus.LOST, NOW_MS)) == 1
    assert losses_after(pod(status=PodStatus.CORDONED), lost=True) == 1
    assert losses_after(pod().with_status(PodStatus.GONE, NOW_MS)) == 0
    drained = pod(status=PodStatus.DRAINING)
    assert losses_after(drained, lost=True) == 0
    assert losses_after(drained.with_status(PodStatus.LOST, NOW_MS)) == 0


def test_a_loss_counts_from_when_it_was_known_not_from_when_a_leader_came_to_it() -> None:
    owner = held(A, 7, acknowledged_at_ms=NOW_MS - 50_000)
    for lost_at_ms, expected in ((NOW_MS - 20_000, 1), (NOW_MS + 20_000, 0)):
        fleet = fleet_of({T1: tile(owner=owner)}, {A: pod().with_status(PodStatus.LOST, lost_at_ms)})
        after = settled_of(fleet)[T1]
        assert after is not None
        assert (after.suspicion is not None) == expected


def test_an_owner_of_whom_another_prepares_to_take_over_counts_too() -> None:
    record = tile(owner=held(A, 7, acknowledged_at_ms=NOW_MS - 1), next=term(B, 9))
    after = settled_of(fleet_of({T1: record}, {A: pod(), B: pod()}), {A})[T1]
    assert after is not None
    assert after.owner is not None
    assert (after.owner.pod_id, after.suspicion) == (B, Suspicion((Loss(A, NOW_MS),), in_a_row=1))


def with_suspects(suspects: Mapping[TileId, Suspicion | None], tiles: int = 10) -> Fleet:
    records = {one: tile(owner=held(B, 1)) for one in tile_ids(tiles)}
    records |= {one: tile(suspicion=found) for one, found in suspects.items()}
    return fleet_of(records, {B: pod()})


def test_a_tile_whose_third_owner_in_a_row_died_is_quarantined_and_one_of_two_is_not() -> None:
    fleet = with_suspects({T1: suspicion(3), T2: suspicion(2)})
    imposed = impose(fleet, {}, NOW_MS, POLICY)
    assert imposed.records == {T1: tile(suspicion=suspicion(3, 1, NOW_MS + 60_000))}
    assert imposed.spared == 0


def test_the_loss_of_this_very_cycle_counts() -> None:
    before = tile(owner=held(A, 7, acknowledged_at_ms=NOW_MS - 1), suspicion=suspicion(2, last_ms=NOW_MS - 9))
    fleet = fleet_of({T1: before}, {A: pod(), B: pod()})
    settled, imposed = with_quarantines(fleet, settled_of(fleet, {A}), NOW_MS, POLICY, forgives=True)
    assert list(imposed.records) == [T1]
    assert settled[T1] == imposed.records[T1]
    assert not needs_planning(fleet, settled, NOW_MS)
    plan = plan_fleet(fleet, "", NOW_MS, PlacementPolicy(), settled=settled, lost={A})
    assert ([one.reasons for one in plan.unplaceable], plan.moves) == ([("QUARANTINED",)], [])
    assert plan_fleet(fleet, "", NOW_MS + 60_000, PlacementPolicy(), settled=settled, lost={A}).moves


FEW = replace(POLICY, tiles_few=1, tiles_ratio_max=0.003)


def test_a_bounded_share_is_quarantined_at_a_time_the_worst_suspects_first() -> None:
    ids = tile_ids(1_000)
    suspects = {one: suspicion(3) for one in ids[:100]} | {ids[77]: suspicion(5), ids[55]: suspicion(4)}
    imposed = impose(with_suspects(suspects, 1_000), {}, NOW_MS, FEW)
    assert list(imposed.records) == [ids[77], ids[55], ids[0]]
    assert (imposed.displaced, imposed.spared) == ({}, 97)


def test_a_worse_suspect_takes_the_place_of_a_lesser_one_an_equal_one_does_not() -> None:
    ids = tile_ids(1_000)
    until_ms = NOW_MS + 1
    waiting = {ids[n]: suspicion(3, 1, until_ms) for n in (1, 2, 3)}
    assert impose(with_suspects(waiting, 1_000), {}, NOW_MS, FEW).records == {}
    equal = impose(with_suspects({**waiting, ids[0]: suspicion(3)}, 1_000), {}, NOW_MS, FEW)
    assert (equal.records, equal.displaced, equal.spared) == ({}, {}, 1)
    worse = impose(with_suspects({**waiting, ids[0]: suspicion(4)}, 1_000), {}, NOW_MS, FEW)
    assert (list(worse.records), worse.spared) == ([ids[0]], 0)
    assert worse.displaced == {ids[3]: tile(suspicion=suspicion(3, 1, NOW_MS))}
    later = impose(with_suspects({**waiting, ids[0]: suspicion(3)}, 1_000), {}, until_ms, FEW)
    assert (list(later.records), later.displaced) == ([ids[0]], {})


def test_the_share_is_one_tile_ten_where_these_are_few_and_a_thousandth_of_many() -> None:
    assert [POLICY.tiles_max(tiles) for tiles in (0, 1, 20, 40, 200, 10_000, 1_000_000)] == [1, 1, 1, 2, 10, 10, 1_000]


@dataclass
class World:
    """A fleet as its records; every pod that has a poison tile dies of it, and a new one comes in its place."""

    records: dict[TileId, TileRecord]
    pods: list[PodId]
    poison: frozenset[TileId]
    policy: QuarantinePolicy
    now_ms: int = NOW_MS
    epoch: int = 1

    def fleet(self) -> Fleet:
        return fleet_of(self.records, dict.fromkeys(self.pods, pod()))

    def turn(self, lost: set[PodId]) -> None:
        """Pods are lost; what is due is settled and planned."""
        fleet = self.fleet()
        due = settle(fleet, self.now_ms, lost, HandoffPolicy(), self.policy)
        settled, _ = with_quarantines(fleet, due, self.now_ms, self.policy, forgives=True)
        plan = plan_fleet(fleet, "", self.now_ms, PlacementPolicy(), settled=settled, lost=lost)
        after = {one: settled.get(one, record) for one, record in self.records.items()}
        self.records = {one: record for one, record in after.items() if record is not None}
        for move in plan.moves:
            record = self.records[move.tile_id]
            if record.owner is None:
                self.epoch += 1
                owner = held(move.target, self.epoch, at=self.now_ms, acknowledged_at_ms=self.now_ms)
                self.records[move.tile_id] = msgspec.structs.replace(record, owner=owner, last_epoch=self.epoch)

    def owners_of_poison(self) -> set[PodId]:
        owners = (self.records[one].owner for one in self.poison)
        return {owner.pod_id for owner in owners if owner is not None}

    def quarantined(self) -> set[TileId]:
        fleet = self.fleet()
        return {fleet.tiles.id_of(row) for row in quarantined_rows(fleet, self.now_ms)}


def new_world(tiles: int, pods: int, poison: int, policy: QuarantinePolicy = POLICY) -> World:
    ids = tile_ids(tiles)
    return World(dict.fromkeys(ids, tile()), [PodId(f"p{n}") for n in range(pods)], frozenset(ids[:poison]), policy)


@pytest.mark.parametrize(("tiles", "pods", "deaths_max"), [(1, 4, 3), (20, 4, 3), (100, 10, 3), (1_000, 10, 5)])
def test_a_poison_tile_among_many_is_found_before_it_has_killed_the_fleet(
    tiles: int, pods: int, deaths_max: int
) -> None:
    world = new_world(tiles, pods, poison=1)
    world.turn(set())
    deaths = 0
    while owners := world.owners_of_poison():
        deaths += 1
        world.now_ms += 5_000
        world.turn(owners)
        world.pods = [one for one in world.pods if one not in owners]
        assert deaths <= deaths_max
    quarantined = world.quarantined()
    assert world.poison <= quarantined
    assert len(quarantined) <= POLICY.tiles_max(tiles)
    innocent = [record for one, record in world.records.items() if one not in quarantined]
    assert all(record.owner is not None for record in innocent)


def test_a_rack_that_keeps_dying_stops_no_more_than_the_share() -> None:
    policy = replace(POLICY, tiles_few=1, tiles_ratio_max=0.01)
    world = new_world(1_200, 6, poison=0, policy=policy)
    world.turn(set())
    most = 0
    for turn in range(20):
        world.now_ms += 10_000
        world.turn({world.pods[turn % 6], world.pods[(turn + 3) % 6]})
        most = max(most, len(world.quarantined()))
        waiting = [one for one, record in world.records.items() if record.owner is None]
        assert set(waiting) == world.quarantined(), "nobody else is without an owner"
    assert most == 12, "the share, and no more"


def test_a_long_time_with_one_living_owner_clears_all_counts() -> None:
    long_ago = NOW_MS - POLICY.forgiven_after_ms
    records = {
        T1: tile(owner=held(B, 1, at=long_ago), suspicion=suspicion(2, 1, 5)),
        T2: tile(owner=held(B, 2, at=long_ago + 1), suspicion=suspicion(2)),
        T3: tile(suspicion=suspicion(2)),
    }
    fleet = fleet_of(records, {B: pod()})
    assert forgive(fleet, {}, NOW_MS, POLICY) == {T1: tile(owner=held(B, 1, at=long_ago))}
    assert forgive(fleet, {T1: None}, NOW_MS, POLICY) == {}
    assert forgive(fleet_of({T1: tile()}, {}), {}, NOW_MS, POLICY) == {}
    settled, _ = with_quarantines(fleet, {}, NOW_MS, POLICY, forgives=False)
    assert settled == {}


def test_one_cycle_forgives_a_bounded_number() -> None:
    ids = tile_ids(FORGIVEN_MAX + 1)
    fleet = fleet_of({one: tile(owner=held(B, 1), suspicion=suspicion(1)) for one in ids}, {B: pod()})
    assert len(forgive(fleet, {}, NOW_MS, POLICY)) == FORGIVEN_MAX


@pytest.mark.parametrize(
    ("record", "counts"),
    [
        (tile(suspicion=suspicion(3, 1, NOW_MS + 1)), True),
        (tile(suspicion=suspicion(3, 1, NOW_MS)), False),
        (tile(owner=held(B, 9), suspicion=suspicion(3, 1, NOW_MS + 1)), False),
        (tile(draining=held(B, 9), retiring=True, suspicion=suspicion(3, 1, NOW_MS + 1)), False),
        (tile(), False),
    ],
)
def test_in_quarantine_is_who_waits_without_an_owner(record: TileRecord, counts: bool) -> None:
    fleet = fleet_of({T1: record, T2: tile(owner=held(B, 1))}, {B: pod()})
    assert quarantined_rows(fleet, NOW_MS) == ([fleet.tiles.row(T1)] if counts else [])
    if record.owner is None and not record.retiring:
        assert needs_planning(fleet, {}, NOW_MS) is not counts
