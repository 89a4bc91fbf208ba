"""Owns a fleet in memory whose tiles divide: a store, a picture of it, a sink, and pods that do what tests want."""

from collections import defaultdict
from collections.abc import Callable
from functools import cache
from typing import Any

import h3.api.basic_int as h3

from subgraph.domain import ownership
from subgraph.domain.coverage import resolve_overlaps
from subgraph.domain.errors import EpochStale
from subgraph.domain.fleet.carrying_out import carry_out, epochs_of, tiles_of
from subgraph.domain.fleet.fleet_plan import FleetPlan, plan_by_hand
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.fleet.settle import lost_owners, settle
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, SessionId, TileId, parse_tile_id, tile_id
from subgraph.domain.ownership import AcknowledgedPhase, AssignmentState
from subgraph.domain.planning.resolution import ResolutionPolicy
from subgraph.operations.control.commits import commits_of
from subgraph.operations.fleet.fleet_writes import TileWrite
from tests.support.commit_twin import CommitTwin
from tests.support.fleets import A, B, C, pod, report, reported, tile
from tests.support.model_sink import ModelSink
from tests.support.planned_fleet import plan_fleet

PODS = (A, B, C)
PENTAGON = h3.get_pentagons(4)[0]
CELLS = [*h3.cell_to_children(h3.latlng_to_cell(40.0, -100.0, 3))[:3], PENTAGON]
FINEST = 7
HANDOFF = HandoffPolicy(prepare_timeout_ms=5_000, drain_timeout_ms=5_000)
POLICY = PlacementPolicy(cool_down_ms=0, resolution=ResolutionPolicy(finer_max=2, merge_after_ms=3_000))
PHASE_AFTER = {
    AssignmentState.PREPARING: AcknowledgedPhase.READY,
    AssignmentState.ACTIVE: AcknowledgedPhase.ACTIVE,
    AssignmentState.DRAINING: AcknowledgedPhase.RELEASED,
}


class World:
    """A store, the leader's picture of it, a picture that misses changes, a sink, and all who ever worked on a tile."""

    def __init__(self) -> None:
        self.store = CommitTwin()
        self.fleet, self.late = Fleet(), Fleet()
        self.sink = ModelSink()
        self.now_ms = 1_000_000
        self.session = 0
        self.registered: set[int] = set()
        self.worked: set[tuple[TileId, int]] = set()
        self.owner_of: dict[tuple[TileId, int], PodId] = {}
        self.highest: defaultdict[TileId, int] = defaultdict(int)
        self.seen = 0

    @property
    def session_id(self) -> SessionId:
        return SessionId(f"session-{self.session}")

    def write(self, tiles: list[TileWrite], groups: list[list[TileWrite]] | None = None) -> None:
        """Commit, and have the leader see it."""
        self.store.write(tiles, groups or ())
        self.follow()

    def follow(self) -> None:
        for change in self.store.changes[self.seen :]:
            for one, record in change.tiles.items():
                if record and record.owner:
                    assert self.owner_of.setdefault((one, record.owner.epoch), record.owner.pod_id) == (
                        record.owner.pod_id
                    )
                    assert record.owner.epoch >= self.highest[one], "an epoch fell"
                    self.highest[one] = record.owner.epoch
            self.fleet.apply(change)
        self.seen = len(self.store.changes)

    def in_force(self) -> list[TileId]:
        return [one for one, found in self.store.tiles.items() if not found.record.retiring]

    def register(self, cells: list[int]) -> None:
        """As registering does: what has no tile yet gets one."""
        change = resolve_overlaps(self.fleet.tiles.coverage(self.session_id), cells)
        assert set(change.added) == set(cells) - self.registered
        self.registered |= set(change.added)
        self.write([TileWrite(tile_id(self.session_id, cell), 0, tile()) for cell in change.added])

    def plan(self) -> FleetPlan:
        return plan_fleet(self.fleet, "plan", self.now_ms, POLICY, settled=self.settled())

    def settled(self) -> Any:
        return settle(self.fleet, self.now_ms, frozenset(), HANDOFF)

    def carry_out(self, plan: FleetPlan, in_between: Callable[[], None] = lambda: None, tiles_max: int = 9) -> None:
        """As the leader does, in small commits; something may happen before the first."""
        settled = self.settled()
        records = {one: self.fleet.record(one) for one in tiles_of(plan)}
        versions = {one: self._version(one) for one in (*records, *settled)}
        first = self.store.reserve(max(1, epochs_of(plan)))
        loads = {move.tile_id: self.fleet.reported_load(move.tile_id) for move in plan.moves}
        done = carry_out(plan, records, settled, first, self.now_ms, loads)
        lost = lost_owners(self.fleet, settled, frozenset())
        in_between()
        for alone, groups in commits_of(done, versions, lost, tiles_max):
            self.write(alone, groups)

    def by_hand(self, **steps: Any) -> None:
        self.carry_out(plan_by_hand("by-hand", self.fleet.version, self.now_ms, **steps))

    def acknowledge(self, pod_id: PodId, *, every: int = 1) -> None:
        """A pod does what some of its terms ask for, fences as it must, and says so; a lost one is not believed."""
        if not self.store.pods[pod_id].record.status.is_live:
            return
        for change in self.fleet.terms_of_pod(pod_id)[::every]:
            found = self.store.tiles[change.tile_id]
            if change.state is AssignmentState.ACTIVE:
                self.sink.raise_epochs((change.tile_id, *change.replaces), change.term.epoch)
                self.worked.add((change.tile_id, change.term.epoch))
            phase = PHASE_AFTER[change.state]
            try:
                after = ownership.acknowledge(
                    change.tile_id, found.record, pod_id, change.term.epoch, phase, self.now_ms
                )
            except EpochStale:
                continue
            if after != found.record:
                self.write([TileWrite(change.tile_id, found.version, after)])

    def report(self, weigh: Callable[[int], float]) -> None:
        """Every owner reports its tiles: the sum of what their places weigh."""
        batches = [
            report(one.term.pod_id, {one.tile_id: weight_of(one.tile_id, weigh)}, epoch=one.term.epoch)
            for pod_id in PODS
            for one in self.fleet.terms_of_pod(pod_id)
            if one.state is AssignmentState.ACTIVE and one.term.acknowledged_at_ms
        ]
        if batches:
            self.fleet.ingest(reported(self.now_ms, *batches))

    def _version(self, one: TileId) -> int:
        row = self.fleet.tiles.row(one)
        return 0 if row is None else int(self.fleet.tiles.changed_at[row])


@cache
def places(cell: int) -> tuple[int, ...]:
    return tuple(h3.cell_to_children(cell, FINEST))


def weight_of(one: TileId, weigh: Callable[[int], float]) -> float:
    return sum(map(weigh, places(parse_tile_id(one)[1])))


def at_work(world: World) -> None:
    """Everything that is under way is finished."""
    for _ in range(4):
        for pod_id in PODS:
            world.acknowledge(pod_id)
        world.carry_out(plan_by_hand("none", world.fleet.version, world.now_ms))


def begun(cells: list[int], capacity: float = 100.0) -> World:
    world = World()
    world.store.change({}, {one: pod(capacity=capacity) for one in PODS})
    world.follow()
    world.register(cells)
    world.carry_out(world.plan(), tiles_max=100)
    at_work(world)
    return world
