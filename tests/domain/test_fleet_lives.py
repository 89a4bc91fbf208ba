"""Lives of a fleet, event by event, without any I/O: whatever comes, plans keep the rules and epochs only rise."""

from collections import Counter
from collections.abc import Mapping

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from subgraph.domain import ownership
from subgraph.domain.fleet.changes import FleetChange
from subgraph.domain.fleet.fleet_plan import FleetMove, FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.fleet.settle import settle
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AcknowledgedPhase, AssignmentReason, AssignmentState, Term, TileRecord, terms_of
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.pods import PodRecord, PodStatus
from tests.support.fleets import fleet_of, pod, report, reported, tile, tile_ids
from tests.support.planned_fleet import plan_fleet

PODS = [PodId(name) for name in ("a", "b", "c", "d")]
TILES = tile_ids(24)
HANDOFF = HandoffPolicy(prepare_timeout_ms=5_000, drain_timeout_ms=5_000)
POLICY = PlacementPolicy(BalancePolicy(moves_max=4, moves_ratio_max=0.0), cool_down_ms=10_000)
CYCLES_TO_REST_MAX = 120
PHASE_AFTER = {
    AssignmentState.PREPARING: AcknowledgedPhase.READY,
    AssignmentState.ACTIVE: AcknowledgedPhase.ACTIVE,
    AssignmentState.DRAINING: AcknowledgedPhase.RELEASED,
}


class FleetLife(RuleBasedStateMachine):
    """A fleet as its leader sees it; the machine plays everybody else."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet: Fleet = fleet_of()
        self.now_ms = 1_000_000
        self.epochs: set[int] = set()
        self.in_force: dict[TileId, int] = {}
        self.loads: dict[TileId, float] = {}

    # ── what happens ──

    @initialize(capacities=st.lists(st.sampled_from((50.0, 100.0, 200.0)), min_size=2, max_size=4))
    def pods_come(self, capacities: list[float]) -> None:
        for pod_id, capacity in zip(PODS, capacities, strict=False):
            self.change(pods={pod_id: pod(capacity=capacity)})

    @rule(pod_id=st.sampled_from(PODS), tiles_max=st.sampled_from((None, None, 3, 10)))
    def a_pod_comes(self, pod_id: PodId, tiles_max: int | None) -> None:
        self.change(pods={pod_id: pod(tiles_max=tiles_max, registered_at_ms=self.now_ms)})

    @rule(pod_id=st.sampled_from(PODS), status=st.sampled_from(PodStatus))
    def a_pod_becomes(self, pod_id: PodId, status: PodStatus) -> None:
        found = self.fleet.pods.get(pod_id)
        if found is not None and found.record.status.is_live:
            self.change(pods={pod_id: found.record.with_status(status, self.now_ms)})

    @rule(wanted=st.lists(st.sampled_from(TILES), max_size=8, unique=True))
    def tiles_come(self, wanted: list[TileId]) -> None:
        self.change({one: tile() for one in wanted if self.fleet.record(one) is None})

    @rule(wanted=st.lists(st.sampled_from(TILES), max_size=4, unique=True))
    def tiles_are_given_up(self, wanted: list[TileId]) -> None:
        records = {one: self.fleet.record(one) for one in wanted}
        living = {one: record for one, record in records.items() if record is not None and not record.retiring}
        self.change({one: ownership.retire(record, self.now_ms) for one, record in living.items()})

    @rule(one=st.sampled_from(TILES), pod_id=st.sampled_from([None, *PODS]))
    def an_operator_pins(self, one: TileId, pod_id: PodId | None) -> None:
        record = self.fleet.record(one)
        if record is not None and not record.retiring and pod_id not in record.forbidden:
            self.change({one: msgspec.structs.replace(record, pin=pod_id)})

    @rule(one=st.sampled_from(TILES), pod_id=st.sampled_from(PODS))
    def an_operator_forbids(self, one: TileId, pod_id: PodId) -> None:
        record = self.fleet.record(one)
        if record is not None and not record.retiring and record.pin != pod_id:
            self.change({one: msgspec.structs.replace(record, forbidden=(pod_id,))})

    @rule(loads=st.dictionaries(st.sampled_from(TILES), st.floats(0, 100, allow_subnormal=False), max_size=8))
    def loads_change(self, loads: Mapping[TileId, float]) -> None:
        self.loads |= loads
        self.report()

    @rule(seconds=st.sampled_from((0.2, 3.0, 20.0)))
    def time_passes(self, seconds: float) -> None:
        self.now_ms += int(seconds * 1_000)

    @rule(pod_ids=st.sets(st.sampled_from(PODS)))
    def pods_answer(self, pod_ids: set[PodId]) -> None:
        live = {one.id for one in self.fleet.pods if one.record.status.is_live}
        self.answer(pod_ids & live)

    @rule()
    def a_cycle(self) -> None:
        self.cycle()

    # ── what always holds ──

    @invariant()
    def no_tile_is_prepared_by_its_owner(self) -> None:
        for one in self.tiles():
            record = self.fleet.record(one)
            assert record is not None
            assert record.next is None or record.owner is None or record.next.pod_id != record.owner.pod_id

    @precondition(lambda self: any(one.record.status is PodStatus.READY for one in self.fleet.pods))
    @rule()
    def left_alone_it_comes_to_rest(self) -> None:
        """With fixed loads and pods that answer: every tile that may be somewhere is, and then nothing moves."""
        quiet = 0
        for _ in range(CYCLES_TO_REST_MAX):
            self.now_ms += POLICY.cool_down_ms + 1
            self.answer({one.id for one in self.fleet.pods if one.record.status.is_live})
            self.report()
            plan = self.cycle()
            quiet = 0 if plan.moves else quiet + 1
            if quiet == 3:
                break
        assert quiet == 3, "it never comes to rest"
        waiting = {unplaceable.tile_id for unplaceable in plan.unplaceable}
        for one in self.tiles():
            record = self.fleet.record(one)
            assert record is not None
            assert (record.owner is not None) or one in waiting
            assert not record.is_handing_over
            assert not record.retiring

    # ── how it is done ──

    def tiles(self) -> list[TileId]:
        """All tiles there are."""
        return [one for one, _ in self.fleet.tiles.items()]

    def change(
        self, tiles: Mapping[TileId, TileRecord | None] | None = None, pods: Mapping[PodId, PodRecord] | None = None
    ) -> None:
        """Commit a change, watching the epochs."""
        for one, record in (tiles or {}).items():
            if record is None:
                continue
            if record.owner is not None and record.owner.epoch != self.in_force.get(one):
                assert record.owner.epoch > self.in_force.get(one, 0), "an epoch in force must rise"
                self.in_force[one] = record.owner.epoch
        previous = self.fleet.version
        self.fleet.apply(FleetChange(previous, previous + 1, tiles or {}, pods or {}))

    def answer(self, pod_ids: set[PodId]) -> None:
        """Have pods acknowledge what their terms ask for."""
        for one in self.tiles():
            record = self.fleet.record(one)
            for term, state in terms_of(record) if record else ():
                now = self.fleet.record(one)
                if term.pod_id in pod_ids and now is not None:
                    done = ownership.acknowledge(one, now, term.pod_id, term.epoch, PHASE_AFTER[state], self.now_ms)
                    self.change({one: done})

    def report(self) -> None:
        """Have every owner report the loads as they are."""
        for one, load in self.loads.items():
            record = self.fleet.record(one)
            if record is not None and record.owner is not None:
                batch = report(record.owner.pod_id, {one: load}, epoch=record.owner.epoch)
                for _ in range(40):  # until the smoothed load is the load
                    self.fleet.ingest(reported(self.now_ms, batch))

    def cycle(self) -> FleetPlan:
        """Settle, plan, check the plan, carry it out."""
        settled = settle(self.fleet, self.now_ms, frozenset(), HANDOFF)
        plan = plan_fleet(self.fleet, "plan", self.now_ms, POLICY, settled=settled)
        after = {move.tile_id: self.fleet.record(move.tile_id) for move in plan.moves} | settled
        self.check(plan, after)
        for number, move in enumerate(plan.moves, 1):
            record = after[move.tile_id]
            assert record is not None
            epoch = (self.fleet.version << 8) + number
            assert epoch not in self.epochs
            self.epochs.add(epoch)
            given = Term(move.target, epoch, move.reason, self.now_ms)
            after[move.tile_id] = (ownership.place if record.owner is None else ownership.prepare)(record, given)
        self.change(after)
        return plan

    def check(self, plan: FleetPlan, settled: Mapping[TileId, TileRecord | None]) -> None:
        """No move breaks a rule."""
        assert len({move.tile_id for move in plan.moves}) == len(plan.moves)
        balanced = [move for move in plan.moves if move.reason is AssignmentReason.LOAD_BALANCE]
        assert len(balanced) <= POLICY.balance.moves_max
        for move in plan.moves:
            record = settled[move.tile_id]
            assert record is not None
            assert not record.retiring
            self.check_target(move, record)
            if record.owner is not None:
                assert not record.is_handing_over
                assert record.owner.acknowledged_at_ms is not None
                assert move.target != record.owner.pod_id
        self.check_slots(plan, settled)

    def check_target(self, move: FleetMove, record: TileRecord) -> None:
        """A tile goes to a pod that takes tiles and may have it."""
        target = self.fleet.pods.get(move.target)
        assert target is not None
        assert target.record.status is PodStatus.READY
        assert move.target not in record.forbidden
        pinned_to = self.fleet.pods.get(record.pin) if record.pin else None
        if pinned_to is not None and pinned_to.record.status in (PodStatus.READY, PodStatus.CORDONED):
            assert move.target == record.pin

    def check_slots(self, plan: FleetPlan, settled: Mapping[TileId, TileRecord | None]) -> None:
        """Nobody ends with more tiles than its limit, or than it had where that was more: a swap is allowed."""
        targets = {move.tile_id: move.target for move in plan.moves}
        before, after = Counter[PodId](), Counter[PodId]()
        for one in self.tiles():
            record = settled[one] if one in settled else self.fleet.record(one)
            term = record and (record.next or record.owner)
            if record is not None and not record.retiring:
                before.update([term.pod_id] if term else [])
                after.update([targets[one]] if one in targets else [term.pod_id] if term else [])
        for target in set(targets.values()):
            found = self.fleet.pods.get(target)
            assert found is not None
            limit = found.record.tiles_max
            assert limit is None or after[target] <= max(before[target], limit)


FleetLife.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestAFleetsLife = FleetLife.TestCase
