"""Owns planning of the whole fleet: from its picture to columns, and from the planner's rows to a plan by names."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from subgraph.domain.fleet.columns import REALITY, FleetColumns, WhatIf, fleet_columns
from subgraph.domain.fleet.divisions import divisions_of
from subgraph.domain.fleet.fleet_plan import PLAN_LIFETIME_MS, FleetMove, FleetPlan, Outcome, Unplaceable
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.planned_divisions import (
    planned_merges,
    planned_splits,
    refused_splits,
)
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.quarantine import quarantined_rows
from subgraph.domain.fleet.rejections import FORBIDDEN, Rejections
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentReason, TileRecord
from subgraph.domain.planning.columns import UNOWNED
from subgraph.domain.planning.plan import Plan, PlanOutcome, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import MoveReason, UnplaceableReason
from subgraph.domain.planning.resolution import Divisions, ResolutionPolicy
from subgraph.domain.pods import PodStatus


@dataclass(frozen=True, slots=True)
class PlacementPolicy:
    """How tiles are placed and how fine they are, how long one rests between two moves, and how long a pod is new."""

    balance: BalancePolicy = field(default_factory=BalancePolicy)
    cool_down_ms: int = 10_000
    joined_within_ms: int = 30_000
    resolution: ResolutionPolicy = field(default_factory=ResolutionPolicy)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPlan:
    """A plan in three steps: `prepare_plan` reads the picture, `compute` needs it no more, `named` reads it again.

    So a large fleet can be planned in a thread while the picture holds still: it must not change before `named`.
    """

    fleet: Fleet
    plan_id: str
    now_ms: int
    policy: PlacementPolicy
    balance: BalancePolicy
    by_hand: bool
    is_hypothetical: bool
    columns: FleetColumns
    divisions: Divisions | None
    began_seconds: float

    @property
    def tiles(self) -> int:
        """How many tiles are planned for."""
        return self.columns.tile_rows.size

    def compute(self) -> Plan:
        """Plan; this may run in another thread."""
        return plan_rebalance(self.columns.input, self.balance, self.divisions, self.policy.resolution)

    def named(self, plan: Plan) -> FleetPlan:
        """The plan with the names of tiles and pods for their rows."""
        fleet, columns, divisions = self.fleet, self.columns, self.divisions
        # The control loop's own plans are not shown to anybody.
        is_shown = self.by_hand and plan.unplaceable_tiles.size > 0
        told = Rejections(fleet, columns, plan, capacity_hard=self.balance.capacity_hard) if is_shown else None
        return FleetPlan(
            id=self.plan_id,
            base_version=fleet.version,
            created_at_ms=self.now_ms,
            expires_at_ms=self.now_ms + PLAN_LIFETIME_MS,
            moves=_moves(fleet, columns, plan, self.now_ms, self.policy, self.by_hand),
            unplaceable=_unplaceable(fleet, columns, plan, told),
            rejections=tuple(told.answers) if told else (),
            skipped=plan.skip.value if plan.skip else None,
            before=_outcome(plan.before),
            after=_outcome(plan.after),
            churn=plan.churn,
            churn_lower_bound=plan.churn_lower_bound,
            compute_ms=(time.perf_counter() - self.began_seconds) * 1_000,
            is_hypothetical=self.is_hypothetical,
            splits=tuple(planned_splits(fleet, columns, plan)),
            merges=tuple(planned_merges(fleet, columns, plan, divisions)) if divisions else (),
            unsplit=tuple(refused_splits(fleet, columns, plan)),
            fill_churn=plan.fill_churn,
        )


def prepare_plan(
    fleet: Fleet,
    plan_id: str,
    now_ms: int,
    policy: PlacementPolicy,
    *,
    settled: Mapping[TileId, TileRecord | None] | None = None,
    lost: Collection[PodId] = (),
    by_hand: bool = False,
    emergency: bool = False,
    what_if: WhatIf = REALITY,
) -> PreparedPlan:
    """Prepare to plan the fleet as it will be once `settled` is written and `lost` pods are gone.

    Args:
        fleet: the picture to plan on.
        plan_id: what the plan will be called.
        now_ms: the live store's time.
        policy: how to place.
        settled: records that this cycle writes anyway; None: the tile goes.
        lost: pods this cycle declares lost.
        by_hand: an operator asks: hysteresis and cool-down do not hold anything back.
        emergency: only what has no owner, or whose pod drains, is given to others, all of it at once.
        what_if: what to suppose about pods and loads.
    """
    began_seconds = time.perf_counter()
    balance = policy.balance.without_hysteresis() if by_hand else policy.balance
    balance = replace(balance, emergency=emergency)
    gone = what_if.removed.union(lost)
    columns = fleet_columns(fleet, settled or {}, gone, now_ms, 0 if by_hand else policy.cool_down_ms, what_if)
    divisions = None
    if policy.resolution.enabled:
        divisions = divisions_of(fleet, columns, settled or {}, now_ms, policy.resolution, by_hand=by_hand)
    return PreparedPlan(
        fleet, plan_id, now_ms, policy, balance, by_hand, not what_if.is_real, columns, divisions, began_seconds
    )


def _outcome(outcome: PlanOutcome) -> Outcome:
    return Outcome(outcome.imbalance, outcome.max_utilization, outcome.unassigned_tiles, outcome.cut_edges)


def needs_planning(fleet: Fleet, settled: Mapping[TileId, TileRecord | None], now_ms: int) -> bool:
    """Whether something cannot wait for the next regular round: a tile without an owner, or a draining pod's.

    A tile in quarantine can: it has no owner, and gets none.
    """
    tiles = fleet.tiles
    unowned = tiles.exists[: tiles.rows_used] & (tiles.owner[: tiles.rows_used] == NOBODY)
    if np.count_nonzero(unowned) > len(tiles.retiring) + len(quarantined_rows(fleet, now_ms)):
        return True
    if any(record is not None and _is_homeless(record, now_ms) for record in settled.values()):
        return True
    draining = [fleet.pods.row_or_new(pod_id) for pod_id in fleet.pods.with_status(PodStatus.DRAINING)]
    return bool(draining) and bool(np.isin(tiles.owner[: tiles.rows_used], draining).any())


def _is_homeless(record: TileRecord, now_ms: int) -> bool:
    waits = record.suspicion is not None and record.suspicion.is_quarantined(now_ms)
    return record.owner is None and not record.retiring and not waits


def _unplaceable(fleet: Fleet, columns: FleetColumns, plan: Plan, told: Rejections | None) -> list[Unplaceable]:
    unplaceable = []
    for tile, code in zip(plan.unplaceable_tiles.tolist(), plan.unplaceable_reasons.tolist(), strict=True):
        answer = told.of(tile) if told else None
        kinds: tuple[str, ...] = (UnplaceableReason(code).name,)
        if told is not None and answer is not None and code == UnplaceableReason.LABELS:
            # To the planner an operator's word is one more label that is missing.
            by_rules = {one.reason for one in told.answers[answer]} & {UnplaceableReason.LABELS.name, FORBIDDEN}
            kinds = tuple(sorted(by_rules)) or kinds
        unplaceable.append(Unplaceable(fleet.tiles.id_of(int(columns.tile_rows[tile])), kinds, answer))
    return unplaceable


def _moves(
    fleet: Fleet, columns: FleetColumns, plan: Plan, now_ms: int, policy: PlacementPolicy, by_hand: bool
) -> list[FleetMove]:
    tiles = fleet.tiles
    live = {pod.id for pod in columns.pods}
    moves = []
    for tile, source, target, kind, load, gain in zip(
        plan.tiles.tolist(),
        plan.sources.tolist(),
        plan.targets.tolist(),
        plan.reasons.tolist(),
        plan.loads.tolist(),
        plan.gains.tolist(),
        strict=True,
    ):
        row, pod = int(columns.tile_rows[tile]), columns.pods[target]
        reason = _reason(kind, bool(tiles.last_epoch[row]), pod, now_ms, policy, by_hand)
        if reason is AssignmentReason.POD_LOST and (row in tiles.not_taken_over or fleet.owner_id(row) in live):
            # What this cycle's settling takes from a live pod, it takes for that one reason.
            reason = AssignmentReason.NOT_TAKEN_OVER
        moves.append(
            FleetMove(
                tile_id=tiles.id_of(row),
                source=columns.pods[source].id if source != UNOWNED else None,
                target=pod.id,
                reason=reason,
                load=load,
                gain=gain,
                tile_version=int(tiles.changed_at[row]),
                target_version=pod.changed_at,
            )
        )
    return moves


def _reason(
    kind: int, was_owned: bool, target: PodRow, now_ms: int, policy: PlacementPolicy, by_hand: bool
) -> AssignmentReason:
    match MoveReason(kind):
        case MoveReason.PLACED:
            return AssignmentReason.POD_LOST if was_owned else AssignmentReason.INITIAL
        case MoveReason.EVACUATED:
            return AssignmentReason.POD_DRAINED
        case MoveReason.REPAIRED:
            return AssignmentReason.MANUAL
        case _ if by_hand:
            return AssignmentReason.MANUAL
        case _ if now_ms - target.record.registered_at_ms < policy.joined_within_ms:
            return AssignmentReason.POD_JOINED
        case _:
            return AssignmentReason.LOAD_BALANCE
