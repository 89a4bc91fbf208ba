"""Owns the phase that moves load from the most loaded pods to underloaded ones, such as new pods."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import Flags, Loads
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import SkipReason
from subgraph.domain.planning.shed import Candidates
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing
from subgraph.domain.planning.transfer import room_of, transfer
from subgraph.domain.planning.water import water_level

# Pods whose tiles turn out too large to give are passed over, and the level is sought anew without them.
LEVELS_MAX = 4
# Where what pods could spare is less than a tile, so many of the hottest are asked for one by so many cold ones each.
HOT_PODS_MAX = 64
COLD_PODS_MAX = 64


@dataclass(frozen=True, slots=True, eq=False)
class Filling:
    """What the phase decided: its moves, why there are none though there is a cold pod, and whether a budget bound."""

    moves: Moves
    skip: SkipReason | None
    budget_bound: bool


def fill(standing: Standing, policy: BalancePolicy, budget: Budget) -> Filling:
    """Bring the pods below the floor up to what they are to be filled to, within what they may take in a round.

    The most utilized give first, all down to one level, and none ends below its fair share; only where tiles are too
    large for that one may, if it is no colder than the pod that it fills and not below the floor itself.
    """
    share = standing.fair_share
    cold = standing.pod_receives & (standing.pod_slots > 0)
    cold &= standing.pod_load < (policy.floor - TOLERANCE) * share
    # Where nobody has more than a fair share, it is what has no owner that makes the share so large.
    if not cold.any() or not np.any(standing.excess(1.0)):
        return Filling(Moves.none(), None, budget_bound=False)
    up_to = np.where(cold, policy.fill * share, 0.0)
    now, moves, trimmed = standing, Moves.none(), False
    for _ in range(LEVELS_MAX):
        more, trimmed = _spared(now, policy, budget.less(standing, moves), up_to)
        now, moves = now.after(more), Moves.joined([moves, more])
        if trimmed or not more.tiles.size:
            break
    more = _tile_each(now, policy, budget.less(standing, moves), cold & ~_got(moves, cold.size))
    now, moves = now.after(more), Moves.joined([moves, more])
    left, still = budget.less(standing, moves), cold & (now.pod_load < (policy.floor - TOLERANCE) * share)
    bound = bool(np.any(still & (left.takes_less_than(up_to - now.pod_load) | trimmed | left.in_all.empty)))
    skip = None
    if not moves.tiles.size:
        skip = SkipReason.BUDGET_EXHAUSTED if bound else SkipReason.NOTHING_FITS
    return Filling(moves, skip, bound)


def _spared(standing: Standing, policy: BalancePolicy, budget: Budget, up_to: Loads) -> tuple[Moves, bool]:
    """Return what the most utilized pods can spare beyond their fair share, and whether the round's budget cut it."""
    room = room_of(up_to - standing.pod_load, standing.pod_slots, budget)
    share = standing.fair_share
    beyond = np.where(standing.pod_evacuates, 0.0, np.maximum(0.0, standing.pod_load - share))
    candidates = Candidates.of(standing, beyond > 0)
    candidates = candidates.only(candidates.loads <= np.minimum(beyond, budget.give_load)[candidates.pods])
    able = np.unique(candidates.pods)
    wanted = min(float(room.sum()), budget.in_all.load, float(beyond[able].sum()))
    if not able.size or wanted <= 0:
        return Moves.none(), False
    level = -water_level(-standing.pod_load[able], standing.pod_capacity[able], wanted)
    down_to = np.full_like(share, np.inf)
    down_to[able] = np.maximum(level * standing.pod_capacity[able], share[able])
    return transfer(standing, candidates, down_to, up_to, policy, budget)


def _tile_each(standing: Standing, policy: BalancePolicy, budget: Budget, cold: Flags) -> Moves:
    """Return one tile for each of these pods, off a pod that stays no colder: where nobody can spare a whole one."""
    utilization, level = standing.utilization, standing.level
    hot = np.flatnonzero(~standing.pod_evacuates & (standing.pod_load > standing.fair_share))
    hot = hot[np.argsort(-utilization[hot], kind="stable")][:HOT_PODS_MAX]
    coldest = np.flatnonzero(cold)
    coldest = coldest[np.argsort(utilization[coldest], kind="stable")][:COLD_PODS_MAX]
    is_hot = np.zeros(cold.size, np.bool_)
    is_hot[hot] = coldest.size > 0
    candidates = Candidates.of(standing, is_hot)
    pod_load = standing.pod_load.copy()
    moves = [Moves.none()]
    for pod in coldest[: budget.in_all.moves].tolist():
        loads, sources = candidates.loads, candidates.pods
        after = (pod_load[sources] - loads) / standing.pod_capacity[sources]
        filled = (pod_load[pod] + loads) / standing.pod_capacity[pod]
        may = (after >= np.maximum(filled, policy.floor * level)) & (filled <= policy.target * level)
        may &= loads >= policy.gain_ratio_min * standing.fair_share[pod]
        may &= loads <= np.minimum(budget.heaviest_given(sources), budget.heaviest_taken(np.array([pod]))[0])
        if standing.rules is not None:
            may &= standing.rules.allow(candidates.tiles, np.full(may.size, pod, np.int32))
        found = np.flatnonzero(may)
        if not found.size:
            continue
        best = found[np.lexsort((-loads[found], -pod_load[sources[found]] / standing.pod_capacity[sources[found]]))[0]]
        moved = Moves(candidates.tiles[best : best + 1], np.array([pod], np.int32))
        if not budget.in_all.admits(loads[best : best + 1]):
            break
        budget = budget.less(standing, moved)
        pod_load[sources[best]] -= loads[best]
        pod_load[pod] += loads[best]
        moves.append(moved)
        candidates = candidates.without(np.array([best]))
    return Moves.joined(moves)


def _got(moves: Moves, pods: int) -> Flags:
    got: Flags = np.bincount(moves.targets, minlength=pods) > 0
    return got
