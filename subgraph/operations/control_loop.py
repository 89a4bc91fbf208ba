"""Owns the control loop: observe, settle, plan, commit, announce. It takes no input but the fleet and requests in it.

A cycle comes at every interval, and at once when a change may need one: an acknowledgement, a registration, new tiles,
a lease that ends. Regular cycles balance; those in between only settle handoffs and place what nobody owns.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.carrying_out import carry_out, epochs_of, tiles_of
from subgraph.domain.fleet.changes import CycleReport
from subgraph.domain.fleet.fleet_plan import FleetMove, FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, needs_planning, prepare_plan
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.quarantine import Imposed, with_quarantines
from subgraph.domain.fleet.settle import at_fault, lost_owners, pods_to_forget, pods_to_lose, settle
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.planning.reasons import SkipReason
from subgraph.domain.pods import PodStatus
from subgraph.domain.suspicion import DEFAULT_QUARANTINE, QuarantinePolicy
from subgraph.operations.commits import commits_of
from subgraph.operations.fleet_view import FleetView
from subgraph.operations.fleet_writes import TILES_PER_COMMIT_MAX, NotLeading, PodWrite
from subgraph.operations.leadership import Candidacy, Term
from subgraph.operations.live_fleet import LiveFleet
from subgraph.operations.planning import planned
from subgraph.operations.ports import MonotonicClock, SlowConsumer
from subgraph.operations.rebalancing import RebalanceAnswer, RebalanceRequest, staleness, with_max_churn
from subgraph.operations.recovery import RECOVERING, Recovery
from subgraph.operations.supervision import run_together

logger = logging.getLogger(__name__)

CANDIDATE_SECONDS = 0.5
FAILED_CYCLES_MAX = 20
"""Unforeseen failures in a row after which the loop ends, and the process says that it is unhealthy."""
SPACING_SECONDS = 0.02
CATCH_UP_SECONDS = 2.0
REQUESTS_PER_CYCLE_MAX = 100
RENEWALS_PER_LEASE = 4
RECOVERING_ANSWER = RebalanceAnswer(refused="the fleet recovers from a loss of its live state", is_passing=True)


@dataclass(frozen=True, slots=True)
class CycleFacts:
    """What a cycle did, for metrics and logs. `skip`: why a regular cycle moved nothing."""

    report: CycleReport
    lost_pods: tuple[PodId, ...]
    settled_tiles: int
    moves: tuple[FleetMove, ...]
    conflicts: int
    splits: int = 0
    merges: int = 0
    quarantines: int = 0
    skip: str | None = None


@dataclass(slots=True)
class ControlLoop:
    """The loop of one process; it acts while its candidacy leads. `run` must be kept running."""

    live: LiveFleet
    view: FleetView
    candidacy: Candidacy
    recovery: Recovery
    placement: PlacementPolicy
    handoff: HandoffPolicy
    interval_seconds: float
    observe_cycle: Callable[[CycleFacts], None]
    clock: MonotonicClock
    quarantine: QuarantinePolicy = DEFAULT_QUARANTINE
    _cycle_number: int = field(default=0, init=False)
    _last_skip: str | None = field(default=None, init=False)
    _failed_cycles: int = field(default=0, init=False)
    _due: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _regular_at_seconds: float = field(default=0.0, init=False)

    async def run(self) -> None:
        """Lead whenever nobody else does, until cancelled."""
        try:
            await run_together(self._wake_on_changes(), self._turns())
        finally:
            with contextlib.suppress(Unavailable):
                await self.candidacy.give_up()

    async def _turns(self) -> None:
        while True:
            self._due.clear()
            try:
                term = await self.candidacy.lead()
                if term is not None:
                    await self._cycle(term)
            except NotLeading as error:
                self.candidacy.step_down(str(error))
            except Unavailable as error:
                logger.warning("the control loop waits: %s", error)
            except Exception:
                # A fleet without a control loop is worse than a cycle that failed for a reason nobody foresaw. Another
                # process may fare better, so the lead is given up; a loop that keeps failing is for health to tell.
                self._failed_cycles += 1
                if self._failed_cycles >= FAILED_CYCLES_MAX:
                    raise
                logger.exception("a control cycle failed")
                self.candidacy.step_down("a cycle failed unexpectedly")
            else:
                self._failed_cycles = 0
            await self._wait()

    async def _wait(self) -> None:
        # Acknowledgements come in bursts; one cycle serves many of them.
        await asyncio.sleep(SPACING_SECONDS)
        if not self.candidacy.leads:
            await asyncio.sleep(CANDIDATE_SECONDS)
            return
        until_regular = self._regular_at_seconds - self.clock()
        until_renewal = self.candidacy.lease_ms / 1_000 / RENEWALS_PER_LEASE
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(until_regular, until_renewal, self._seconds_to_next_loss()))):
                await self._due.wait()

    def _seconds_to_next_loss(self) -> float:
        try:
            fleet, now_ms = self.view.current(), self.view.now_ms()
        except Unavailable:
            return self.interval_seconds
        ends = [pod.lease_expires_at_ms for pod in fleet.pods if pod.is_known and pod.record.status.is_live]
        if not ends:
            return self.interval_seconds
        return max(SPACING_SECONDS, (max(min(ends), self.candidacy.grace_ends_at_ms) - now_ms) / 1_000)

    async def _wake_on_changes(self) -> None:
        while True:
            with contextlib.suppress(SlowConsumer), self.view.effects.reader() as effects:
                async for _ in effects:
                    self._due.set()

    async def _cycle(self, term: Term) -> None:
        started, seen_version = self.clock(), self.view.seen_version
        beat, fleet = await self.view.observe(CATCH_UP_SECONDS)
        self.candidacy.check(beat, seen_version)
        is_regular = started >= self._regular_at_seconds
        if is_regular:
            self._regular_at_seconds = started + self.interval_seconds

        if not await self.recovery.turn(term, beat, fleet):
            await self._serve_requests(term, while_recovering=True)
            if is_regular:
                report = await self._report(term, started, beat.now_ms, RECOVERING)
                self.observe_cycle(CycleFacts(report, (), 0, (), 0))
            return
        lost = await self._lose_pods(term, fleet, beat.now_ms)
        await self._forget_pods(term, fleet, beat.now_ms)
        async with self.view.still():
            settled, imposed = self._settled(term, fleet, beat.now_ms, lost, forgives=is_regular)
            plan = await self._plan(term, fleet, beat.now_ms, settled, lost, is_regular)
        # Nothing is awaited between this and the reading of what to write, so it is the same picture.
        conflicts = await self._carry_out(term, fleet, beat.now_ms, settled, plan, lost)
        await self._serve_requests(term)

        acts = plan is not None and bool(tiles_of(plan))
        if plan is not None and (is_regular or acts):
            # Cycles in between that only settle handoffs have nothing to say about it.
            self._last_skip = plan.skipped
        if is_regular or settled or acts:
            report = await self._report(term, started, beat.now_ms, self._last_skip)
            skip = self._last_skip if is_regular else None
            self.observe_cycle(_facts(report, lost, settled, len(imposed.records), plan, conflicts, skip))

    async def _report(self, term: Term, started: float, now_ms: int, skip: str | None) -> CycleReport:
        self._cycle_number += 1
        duration_ms = (self.clock() - started) * 1_000
        report = CycleReport(self._cycle_number, self.candidacy.name, now_ms, duration_ms, skip)
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

    async def _shun(self, term: Term, fleet: Fleet, now_ms: int, slow: Mapping[PodId, int]) -> None:
        """Give no tiles, for a while, to pods that have not taken over what they were given."""
        writes: list[PodWrite] = []
        for pod_id, tiles in slow.items():
            pod = fleet.pods.get(pod_id)
            assert pod is not None
            logger.warning(
                "pod %s has not taken over %d tiles in %g s, and gets none for %g s",
                pod_id,
                tiles,
                self.handoff.take_over_timeout_ms / 1_000,
                self.handoff.shunned_ms / 1_000,
            )
            record = msgspec.structs.replace(pod.record, shunned_until_ms=now_ms + self.handoff.shunned_ms)
            writes.append(PodWrite(pod_id, pod.changed_at, record))
        if writes:
            await self.live.commit(term.leadership, (), writes)

    async def _carry_out(
        self,
        term: Term,
        fleet: Fleet,
        now_ms: int,
        settled: Mapping[TileId, TileRecord | None],
        plan: FleetPlan | None,
        lost: frozenset[PodId],
    ) -> int:
        # The picture goes on changing while epochs are reserved. What is written compares the versions decided on; it
        # would undo what came in between otherwise.
        records = {tile_id: fleet.record(tile_id) for tile_id in tiles_of(plan)} if plan else {}
        versions = {tile_id: self._version(fleet, tile_id) for tile_id in (*records, *settled)}
        owners_lost = lost_owners(fleet, settled, lost)
        await self._shun(term, fleet, now_ms, at_fault(fleet, settled, lost))
        count = epochs_of(plan) if plan else 0
        first_epoch = await self.live.reserve_versions(term.leadership, count, fleet.version) if count else 0
        loads = {move.tile_id: fleet.reported_load(move.tile_id) for move in plan.moves} if plan else {}
        done = carry_out(plan, records, settled, first_epoch, now_ms, loads)
        conflicts = done.passed_over
        for alone, groups in commits_of(done, versions, owners_lost, TILES_PER_COMMIT_MAX):
            committed = await self.live.commit(term.leadership, alone, groups=groups)
            # All the tiles of a large fleet take longer to write than the lease lasts.
            await self.live.keep_leading(term.leadership, self.candidacy.lease_ms)
            # What changed underneath is left as it is: the next cycle, due at once, sees it anew.
            conflicts += len(committed.tile_conflicts)
        return conflicts

    async def _serve_requests(self, term: Term, *, while_recovering: bool = False) -> None:
        for request_id, raw in await self.live.take_requests(term.leadership, REQUESTS_PER_CYCLE_MAX):
            try:
                request = msgspec.json.decode(raw, type=RebalanceRequest)
            except msgspec.MsgspecError as error:
                # Of another version, or of a stranger: the others are served all the same.
                logger.warning("request %s to the leader cannot be read: %s", request_id, error)
                answer = RebalanceAnswer(refused="the leader cannot read the request: it runs another version")
            else:
                answer = RECOVERING_ANSWER if while_recovering else await self._rebalance(term, request)
            await self.live.answer_request(request_id, msgspec.json.encode(answer))

    async def _rebalance(self, term: Term, request: RebalanceRequest) -> RebalanceAnswer:
        beat, fleet = await self.view.observe(CATCH_UP_SECONDS)
        plan = None if request.plan_id is None else await self.live.read_plan(request.plan_id)
        if request.plan_id is not None and plan is None:
            return RebalanceAnswer(refused="the plan has expired")
        # A pod may have left since this cycle settled its tiles: what is due is written with the moves.
        async with self.view.still():
            settled, _ = self._settled(term, fleet, beat.now_ms, frozenset(), forgives=False)
            if plan is None:
                policy = with_max_churn(self.placement, request.max_churn)
                prepared = prepare_plan(
                    fleet, "now", beat.now_ms, policy, settled=settled, by_hand=True, emergency=request.emergency
                )
                plan = await planned(prepared)
        stale = staleness(fleet, plan, beat.now_ms)
        if stale is not None:
            return stale
        await self._carry_out(term, fleet, beat.now_ms, settled, plan, frozenset())
        return RebalanceAnswer(plan=plan)

    @staticmethod
    def _version(fleet: Fleet, tile_id: TileId) -> int:
        row = fleet.tiles.row(tile_id)
        return 0 if row is None else int(fleet.tiles.changed_at[row])


def _facts(
    report: CycleReport,
    lost: frozenset[PodId],
    settled: Mapping[TileId, TileRecord | None],
    quarantines: int,
    plan: FleetPlan | None,
    conflicts: int,
    skip: str | None,
) -> CycleFacts:
    facts = CycleFacts(report, tuple(lost), len(settled), (), conflicts, quarantines=quarantines, skip=skip)
    if plan is None:
        return facts
    return replace(facts, moves=tuple(plan.moves), splits=len(plan.splits), merges=len(plan.merges))
