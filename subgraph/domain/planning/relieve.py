"""Owns the main step of balancing: hot pods give what covers their excess, cold ones take it up to the target."""

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Flags, Loads
from subgraph.domain.planning.fit import fit_by_rules
from subgraph.domain.planning.policy import Allowance, BalancePolicy
from subgraph.domain.planning.shed import Candidates, handoff_cost, shed
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing
from subgraph.domain.planning.water import water_level

# A pass that could not place all that was cut is followed by one that cuts what still fits.
PASSES_MAX = 12


def relieve(standing: Standing, policy: BalancePolicy, allowance: Allowance) -> tuple[Moves, bool]:
    """Cut and fit, in passes, until the excess is gone, nothing fits any more, or the budget is spent.

    Returned are the moves, and whether the budget kept pods above the target. A source stays at or above its fair
    share, a receiver at or below the target, and nobody is both.
    """
    share, hot = standing.fair_share, standing.excess(policy.target)
    moves = Moves.none()
    if not hot.any():
        return moves, False
    receives = standing.pod_receives & (hot <= 0)
    pod_load, pod_slots = standing.pod_load.copy(), standing.pod_slots.copy()
    room = np.where(receives & (pod_slots > 0), policy.target * share - pod_load, 0.0)
    candidates = Candidates.of(standing, hot > 0)
    candidates = candidates.only(_may_fit(standing, candidates, room))
    cost = handoff_cost(standing)
    cut_load, bound = _cut_load(standing, policy, allowance, hot, candidates)
    for _ in range(PASSES_MAX):
        need = np.where(hot > 0, pod_load - cut_load, 0.0)
        need = np.where(need > TOLERANCE * share, np.maximum(need, policy.gain_ratio_min * share), 0.0)
        candidates = candidates.only(need[candidates.pods] > 0)
        given = shed(candidates, need, pod_load - need - share, cost)
        found = fit_by_rules(candidates.tiles[given], candidates.loads[given], room, pod_slots, standing.rules)
        given, found = given[found != UNOWNED], found[found != UNOWNED]
        if not given.size:
            break
        sources, loads = candidates.pods[given], candidates.loads[given]
        hottest_first = np.lexsort((-loads, -(pod_load / standing.pod_capacity)[sources]))
        going = hottest_first[: allowance.admits(loads[hottest_first])]
        trimmed = going.size < given.size
        given, found, sources, loads = given[going], found[going], sources[going], loads[going]
        pod_load += np.bincount(found, weights=loads, minlength=pod_load.size)
        pod_load -= np.bincount(sources, weights=loads, minlength=pod_load.size)
        pod_slots -= np.bincount(found, minlength=pod_slots.size)
        allowance = allowance.less(float(loads.sum()), given.size)
        moves = Moves.joined([moves, Moves(candidates.tiles[given], found)])
        if trimmed:
            return moves, True
        room = np.where(receives & (pod_slots > 0), policy.target * share - pod_load, 0.0)
        candidates = candidates.without(given)
        candidates = candidates.only(_may_fit(standing, candidates, room))
    return moves, bound and moves.tiles.size > 0


def _may_fit(standing: Standing, candidates: Candidates, room: Loads) -> Flags:
    """Return which candidates are no heavier than the most room there is for them."""
    rules = standing.rules
    most = room.max(initial=0.0) if rules is None else rules.heaviest_allowed(candidates.tiles, room)
    fits: Flags = candidates.loads <= most
    return fits


def _cut_load(
    standing: Standing, policy: BalancePolicy, allowance: Allowance, hot: Loads, candidates: Candidates
) -> tuple[Loads, bool]:
    """Return the load to which each pod is cut, and whether the budget keeps it from being the target.

    With less budget than excess the worst are lowered first: all to one level, the one the budget reaches. A pod that
    has too little to give (one tile too big to go anywhere) must not hold that level up for the others.
    """
    gives = np.minimum(np.bincount(candidates.pods, weights=candidates.loads, minlength=hot.size), hot)
    able = np.flatnonzero((hot > 0) & (gives >= hot))
    budget = allowance.load - float(gives.sum() - gives[able].sum())
    level = policy.target * standing.level
    if 0 < budget < float(hot[able].sum()):
        return -water_level(-standing.pod_load[able], standing.pod_capacity[able], budget) * standing.pod_capacity, True
    return level * standing.pod_capacity, False
