"""Owns one cycle of the leader: settle handoffs, plan, commit, announce."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from subgraph.domain.fleet.carrying_out import tiles_of
from subgraph.domain.fleet.changes import CycleReport
from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, needs_planning, prepare_plan
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.quarantine import Imposed, with_quarantines
from subgraph.domain.fleet.settle import pods_to_forget, pods_to_lose, settle
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.planning.reasons import SkipReason
from subgraph.domain.pods import PodStatus
from subgraph.domain.suspicion import DEFAULT_QUARANTINE, QuarantinePolicy
from subgraph.operations.control.carrying_out import CarryingOut
from subgraph.operations.control.cycle_facts import CycleFacts, facts_of
from subgraph.operations.control.leadership import Candidacy, Term
from subgraph.operations.control.planning import planned
from subgraph.operations.control.rebalance_serving import RebalanceServing
from subgraph.operations.control.recovery import RECOVERING, Recovery
from subgraph.operations.fleet.fleet_pulse import Beat
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import PodWrite
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.ports import MonotonicClock

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class ControlCycle:
    """The cycles of one process, one after another."""

    live: LiveFleet
    view: FleetView
    candidacy: Candidacy
    recovery: Recovery
    placement: PlacementPolicy
    handoff: HandoffPolicy
    observe_cycle: Callable[[CycleFacts], None]
    clock: MonotonicClock
    quarantine: QuarantinePolicy = DEFAULT_QUARANTINE
    _number: int = field(default=0, init=False)
    _last_skip: str | None = field(default=None, init=False)
    _carrying_out: CarryingOut = field(init=False)
    _serving: RebalanceServing = field(init=False)

    def __post_init__(self) -> None:
        self._carrying_out = CarryingOut(self.live, self.handoff, self.candidacy.lease_ms)

        def due(term: Term, fleet: Fleet, now_ms: int) -> Mapping[TileId, TileRecord | None]:
            return self._settled(term, fleet, now_ms, frozenset(), forgives=False)[0]

        self._serving = RebalanceServing(self.live, self.view, self.placement, self._carrying_out, due)

    async def run(self, term: Term, beat: Beat, fleet: Fleet, started_seconds: float, *, is_regular: bool) -> None:
        """Settle, plan where it is due, write, answer requests, and announce what was done.

        Args:
            term: the leader's.
            beat: the pulse that the cycle began with.
            fleet: the picture of that moment.
            started_seconds: when the cycle began, by the clock of this process.
            is_regular: whether it balances, and is announced even if it did nothing.

        Raises:
            NotLeading, Unavailable: it stays as far as it came; the next cycle goes on from what it finds.
        """
        if not await self.recovery.turn(term, beat, fleet):
            await self._serving.serve(term, while_recovering=True)
            if is_regular:
                report = await self._report(term, started_seconds, beat.now_ms, RECOVERING)
                self.observe_cycle(CycleFacts(report, (), 0, (), 0))
            return
        lost = await self._lose_pods(term, fleet, beat.now_ms)
        await self._forget_pods(term, fleet, beat.now_ms)
        async with self.view.frozen():
            settled, imposed = self._settled(term, fleet, beat.now_ms, lost, forgives=is_regular)
            plan = await self._plan(term, fleet, beat.now_ms, settled, lost, is_regular)
        # Nothing is awaited between this and the reading of what to write, so it is the same picture.
        conflicts = await self._carrying_out.carry_out(term, fleet, beat.now_ms, settled, plan, lost)
        await self._serving.serve(term)

        acts = plan is not None and bool(tiles_of(plan))
        if plan is not None and (is_regular or acts):
            # Cycles in between that only settle handoffs have nothing to say about it.
            self._last_skip = plan.skipped
        if is_regular or settled or acts:
            report = await self._report(term, started_seconds, beat.now_ms, self._last_skip)
            skip = self._last_skip if is_regular else None
            self.observe_cycle(facts_of(report, lost, settled, len(imposed.records), plan, conflicts, skip))

    async def _report(self, term: Term, started_seconds: float, now_ms: int, skip: str | None) -> CycleReport:
        self._number += 1
        duration_ms = (self.clock() - started_seconds) * 1_000
        report = CycleReport(self._number, self.candidacy.name, now_ms, duration_ms, skip)
        await self.live.announce_cycle(term.leadership, report)
        return report

    async def _plan(
        self,
        term: Term,
        fleet: Fleet,
        now_ms: int,
        settled: Mapping[TileId, TileRecord | None],
        lost: frozenset[PodId],
        is_regular: bool,
    ) -> FleetPlan | None:
        if not is_regular and not needs_planning(fleet, settled, now_ms):
            return None
        # A new leader takes nothing from anyone for one maximum lease; tiles that nobody owns need not wait.
        balances = is_regular and now_ms >= term.grace_ends_at_ms
        policy = self.placement
        if self.view.pause is not None:
            # What nobody owns is placed all the same, so a lost pod's tiles are never left lying.
            policy = replace(policy, balance=replace(policy.balance, paused=True))
        elif not balances:
            balance = policy.balance.without_balancing()
            policy = replace(policy, balance=balance, resolution=replace(policy.resolution, enabled=False))
        plan = await planned(prepare_plan(fleet, "", now_ms, policy, settled=settled, lost=lost))
        if is_regular and not balances and plan.skipped == SkipReason.WITHIN_HYSTERESIS:
            return msgspec.structs.replace(plan, skipped=SkipReason.NEW_LEADER.value)
        return plan

    def _settled(
        self, term: Term, fleet: Fleet, now_ms: int, lost: frozenset[PodId], *, forgives: bool
    ) -> tuple[Mapping[TileId, TileRecord | None], Imposed]:
        """What is due to become of tiles anyway, and the quarantines among it."""
        # A new leader takes nothing from anyone for one maximum lease.
        takes = now_ms >= term.grace_ends_at_ms
        due = settle(fleet, now_ms, lost, self.handoff, self.quarantine, takes=takes)
        settled, imposed = with_quarantines(fleet, due, now_ms, self.quarantine, forgives=forgives)
        for tile_id, record in imposed.records.items():
            assert record.suspicion is not None
            seconds = (record.suspicion.quarantined_until_ms - now_ms) / 1_000
            pods = ", ".join(loss.pod_id for loss in record.suspicion.losses)
            logger.warning("tile %s is quarantined for %g s: it took these pods with it: %s", tile_id, seconds, pods)
        if imposed.spared or imposed.displaced:
            logger.warning(
                "no more tiles may be quarantined: %d suspects are not, %d are released for worse ones",
                imposed.spared,
                len(imposed.displaced),
            )
        return settled, imposed

    async def _lose_pods(self, term: Term, fleet: Fleet, now_ms: int) -> frozenset[PodId]:
        ended = pods_to_lose(fleet, now_ms, term.grace_ends_at_ms)
        if not ended:
            return frozenset()
        writes = [
            PodWrite(pod.id, pod.changed_at, pod.record.with_status(PodStatus.LOST, now_ms), if_lease_ended=True)
            for pod in ended
        ]
        committed = await self.live.commit(term.leadership, (), writes)
        lost = frozenset(pod.id for pod in ended) - committed.pod_conflicts
        if lost:
            logger.warning("pods lost, their leases have ended: %s", ", ".join(sorted(lost)))
        return lost

    async def _forget_pods(self, term: Term, fleet: Fleet, now_ms: int) -> None:
        old: Sequence[PodRow] = pods_to_forget(fleet, now_ms, self.handoff)
        if old:
            await self.live.commit(term.leadership, (), [PodWrite(pod.id, pod.changed_at, None) for pod in old])
