"""Owns the main step of balancing: hot pods give tiles that cover their excess, cold pods take up to the target."""

import numpy as np

from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import Loads
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.shed import Candidates
from subgraph.domain.planning.standing import Moves, Standing
from subgraph.domain.planning.transfer import may_fit, room_of, transfer
from subgraph.domain.planning.water import water_level


def relieve(standing: Standing, policy: BalancePolicy, budget: Budget) -> tuple[Moves, bool]:
    """Bring the hot pods down to the target as far as tiles fit elsewhere and the budget reaches.

    Returned are the moves, and whether the budget of the round kept pods above the target. A source stays at or above
    its fair share, a receiver at or below the target, and nobody is both.
    """
    hot = standing.excess(policy.target)
    if not hot.any():
        return Moves.none(), False
    share, receives = standing.fair_share, standing.pod_receives & (hot <= 0)
    candidates = Candidates.of(standing, hot > 0)
    room = room_of(policy.target * share - standing.pod_load, np.where(receives, standing.pod_slots, 0), budget)
    candidates = candidates.only(may_fit(standing, candidates, room))
    down_to, bound = _down_to(standing, policy, budget, hot, candidates)
    # Pods below the floor are filled in any case: what they get of this does not have to move for that.
    needy = receives & (standing.pod_load < policy.floor * share)
    moves, trimmed = Moves.none(), False
    if needy.any():
        up_to = np.where(needy, policy.fill * share, 0.0)
        moves, trimmed = transfer(standing, candidates, down_to, up_to, policy, budget)
    if not trimmed:
        up_to = np.where(receives, policy.target * share, 0.0)
        candidates = candidates.only(~np.isin(candidates.tiles, moves.tiles))
        budget = budget.less(standing, moves)
        more, trimmed = transfer(standing.after(moves), candidates, down_to, up_to, policy, budget)
        moves = Moves.joined([moves, more])
    return moves, trimmed or (bound and moves.tiles.size > 0)


def _down_to(
    standing: Standing, policy: BalancePolicy, budget: Budget, hot: Loads, candidates: Candidates
) -> tuple[Loads, bool]:
    """Return the load to which each hot pod is cut, and whether the budget keeps it from being the target.

    With less budget than excess the worst are lowered first: all to one level, the one the budget reaches. A pod that
    has too little to give (one tile too big to go anywhere) must not hold that level up for the others.
    """
    gives = np.minimum(np.bincount(candidates.pods, weights=candidates.loads, minlength=hot.size), hot)
    gives = np.minimum(gives, budget.give_load)
    able = np.flatnonzero((hot > 0) & (gives >= hot))
    left = budget.in_all.load - float(gives.sum() - gives[able].sum())
    level, bound = policy.target * standing.level, 0 < left < float(hot[able].sum())
    if bound:
        level = -water_level(-standing.pod_load[able], standing.pod_capacity[able], left)
    return np.where(hot > 0, level * standing.pod_capacity, np.inf), bound
