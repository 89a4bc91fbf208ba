"""Owns the planner: a pure function of the fleet's columns and a policy, which runs the phases in order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.columns import UNOWNED, Loads, PlanningInput, Rows
from subgraph.domain.planning.even import Evening, even, why_nothing_fits
from subgraph.domain.planning.gains import gains
from subgraph.domain.planning.merge import merge
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import MoveReason, SkipReason, UnplaceableReason
from subgraph.domain.planning.resolution import Divisions, ResolutionPolicy, split_load
from subgraph.domain.planning.split import Splitting, after_split, split
from subgraph.domain.planning.standing import Standing
from subgraph.domain.planning.urgent import urgent
from subgraph.domain.planning.violations import unplaceable_reasons

__all__ = ["MoveReason", "Plan", "PlanOutcome", "SkipReason", "UnplaceableReason", "plan_rebalance"]


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """How even the fleet is, over the pods that accept tiles; zeros where there is no such pod."""

    max_utilization: float
    mean_utilization: float  # their load over their capacity
    imbalance: float  # the maximum over the mean; 1 where there is no load
    unassigned_tiles: int
    cut_edges: int  # pairs of neighbouring tiles on two different pods; 0 where no neighbours are known


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What to do, why, and what it is good for. The move columns are parallel, and in the order of importance."""

    tiles: Rows
    sources: Rows  # UNOWNED where the tile had no owner
    targets: Rows
    reasons: npt.NDArray[np.int8]  # of MoveReason
    loads: Loads
    gains: Loads  # by how much a balancing move lowers the hotter of its two pods; 0 for the others
    unplaceable_tiles: Rows
    unplaceable_reasons: npt.NDArray[np.int8]  # of UnplaceableReason
    splitting: Splitting  # tiles that split where they are, and hot ones that do not
    merging: Rows  # families that merge
    skip: SkipReason | None  # why there is no move, split or merge; None when there is one
    budget_bound: bool  # a budget kept this round from going further
    before: PlanOutcome
    after: PlanOutcome
    churn: float  # the load moved to relieve hot pods
    fill_churn: float  # the load moved to fill cold ones, which is not counted in `churn`
    churn_lower_bound: float  # the least load that has to move to bring every pod to the target


def plan_rebalance(
    columns: PlanningInput,
    policy: BalancePolicy,
    divisions: Divisions | None = None,
    resolution: ResolutionPolicy | None = None,
) -> Plan:
    """Plan a round: equal input gives an equal plan. Without divisions no tile splits or merges."""
    start = Standing.of(columns, capacity_hard=policy.capacity_hard)
    tiles, load_total = start.tile_load.size, float(start.tile_load.sum())
    has_pods = bool(start.pod_receives.any())
    first = urgent(start, policy, columns.tiles_in_flight)
    standing, in_flight, unplaceable = first.standing, first.in_flight, first.unplaceable
    settled = standing.with_pinned_at_rest()
    balances = has_pods and not policy.paused and not policy.emergency
    splitting, merging, too_hot = Splitting.none(), np.empty(0, np.int32), 0.0
    if balances and divisions is not None and resolution is not None:
        too_hot = split_load(start, policy.target, resolution)
        allowed = min(resolution.splits_max, policy.balance_allowance(tiles, load_total, in_flight).moves)
        splitting = split(standing, columns, divisions, too_hot, allowed)
        settled = after_split(settled, splitting, divisions)
        in_flight += splitting.tiles.size
    allowance, evening = Allowance(load=0.0, moves=0), Evening.none()
    if balances:
        allowance = policy.balance_allowance(tiles, load_total, in_flight)
        evening = even(settled, policy, allowance)
    balanced = settled.after(evening.balanced)
    final = balanced.after(evening.filled)
    if balances and divisions is not None and resolution is not None:
        cold = resolution.merge_ratio * too_hot
        merging = merge(start, final, columns.tile_load, divisions, cold, resolution.merges_max)
    # Once others have moved, there may be a way that was closed to a tile before.
    unplaceable = unplaceable[final.tile_pod[unplaceable] == settled.tile_pod[unplaceable]]
    cut_before = start.neighbors.cut_edges(start.tile_pod) if start.neighbors else 0
    cut_after = cut_before + (start.neighbors.cut_change(start.tile_pod, final.tile_pod) if start.neighbors else 0)

    phases = {
        **first.moves,
        MoveReason.BALANCED: evening.balanced,
        MoveReason.FILLED: evening.filled,
    }
    evened = np.concatenate((gains(settled, evening.balanced), gains(balanced, evening.filled)))
    moved = np.concatenate([moves.tiles for moves in phases.values()])
    skip = None
    if not (moved.size or splitting.tiles.size or merging.size):
        skip = _skip(start, policy, unplaceable, first.budget_bound, evening)
        if skip is SkipReason.NOTHING_FITS and np.all(start.tile_waits[unplaceable]):
            skip = why_nothing_fits(settled, columns, policy, allowance)
    return Plan(
        tiles=moved,
        sources=columns.tile_pod[moved].astype(np.int32),
        targets=np.concatenate([moves.targets for moves in phases.values()]),
        reasons=np.concatenate([np.full(moves.tiles.size, reason, np.int8) for reason, moves in phases.items()]),
        loads=start.tile_load[moved],
        gains=np.concatenate((np.zeros(moved.size - evened.size), evened)),
        unplaceable_tiles=unplaceable,
        unplaceable_reasons=unplaceable_reasons(unplaceable, final),
        splitting=splitting,
        merging=merging,
        skip=skip,
        budget_bound=first.budget_bound or evening.budget_bound,
        before=_outcome(start, cut_before),
        after=_outcome(final, cut_after),
        churn=float(start.tile_load[evening.balanced.tiles].sum()),
        fill_churn=float(start.tile_load[evening.filled.tiles].sum()),
        churn_lower_bound=float(settled.excess(policy.target).sum()) if has_pods else 0.0,
    )


def _skip(
    start: Standing, policy: BalancePolicy, unplaceable: Rows, budget_bound: bool, evening: Evening
) -> SkipReason:
    if not start.tile_load.size:
        return SkipReason.NO_TILES
    if not start.pod_receives.any():
        return SkipReason.NO_PODS
    if not np.all(start.tile_waits[unplaceable]):
        return SkipReason.NOTHING_FITS
    if policy.paused:
        return SkipReason.PAUSED
    if policy.emergency:
        return SkipReason.NO_EMERGENCY
    if budget_bound:
        return SkipReason.BUDGET_EXHAUSTED
    return evening.skip or SkipReason.BALANCED


def _outcome(standing: Standing, cut_edges: int) -> PlanOutcome:
    receives = standing.pod_receives
    capacity = float(standing.pod_capacity[receives].sum())
    mean = float(standing.pod_load[receives].sum()) / capacity if capacity else 0.0
    highest = float(standing.utilization[receives].max(initial=0.0))
    return PlanOutcome(
        max_utilization=highest,
        mean_utilization=mean,
        imbalance=highest / mean if mean > 0 else 1.0,
        unassigned_tiles=int(np.count_nonzero(standing.tile_pod == UNOWNED)),
        cut_edges=cut_edges,
    )
