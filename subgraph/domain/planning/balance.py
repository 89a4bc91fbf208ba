"""Owns the balancing phase: whether the imbalance calls for it, and its steps."""

from dataclasses import dataclass, replace

import numpy as np

from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.exchange import exchange
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import SkipReason
from subgraph.domain.planning.refine import refine
from subgraph.domain.planning.relieve import relieve
from subgraph.domain.planning.standing import Moves, Standing

# An exchange may open up what a cut can finish, as when a heavy tile comes to a large pod full of light ones.
STEPS_MAX = 4


@dataclass(frozen=True, slots=True, eq=False)
class Balancing:
    """What the phase decided: its moves, why there are none, and whether a budget held some back."""

    moves: Moves
    skip: SkipReason | None
    budget_bound: bool

    @classmethod
    def none(cls, skip: SkipReason | None = None, *, budget_bound: bool = False) -> "Balancing":
        """Return the phase that moves nothing."""
        return cls(Moves.none(), skip, budget_bound)


def balance(standing: Standing, policy: BalancePolicy, budget: Budget) -> Balancing:
    """Return the moves that bring every pod to the target where tile sizes and budgets allow.

    Each leaves the pods it touches cooler than the hotter of them was, so a fixed load comes to rest.
    """
    if not standing.excess(policy.target).any():
        return Balancing.none(SkipReason.BALANCED)
    triggering = standing.excess(policy.trigger) > 0
    if not triggering.any():
        return Balancing.none(SkipReason.WITHIN_HYSTERESIS)
    if budget.in_all.empty:
        return Balancing.none(SkipReason.BUDGET_EXHAUSTED, budget_bound=True)
    now, moves, budget_bound = standing, Moves.none(), False
    for _ in range(STEPS_MAX):
        before = moves
        for step in (relieve, exchange):
            done, budget_bound = step(now, policy, budget.less(standing, moves))
            now = _with_second_thoughts(now, done)
            moves = _net(standing, now) if done.tiles.size else moves
            if budget_bound:
                break
        if budget_bound or moves is before:
            break
    bettered = refine(standing, now, policy, budget)
    if bettered is not now:
        now, moves = bettered, _net(standing, bettered)
    # If those that called for the round cannot be helped, the others are within the hysteresis: let them rest.
    helps = bool(np.any(triggering[standing.tile_pod[moves.tiles]]))
    if not helps:
        now, moves = standing, Moves.none()
    budget_bound = budget_bound or _pods_hold_back(now, policy, budget.less(standing, moves))
    if not helps:
        skip = SkipReason.BUDGET_EXHAUSTED if budget_bound else SkipReason.NOTHING_FITS
        return Balancing.none(skip, budget_bound=budget_bound)
    return Balancing(moves, None, budget_bound)


def _pods_hold_back(now: Standing, policy: BalancePolicy, left: Budget) -> bool:
    """Whether a pod above the target may give no more, or one below it that has room may take no more."""
    needs = now.excess(policy.target)
    open_pods = now.pod_receives & (now.pod_slots > 0)
    room = np.where(open_pods, policy.target * now.fair_share - now.pod_load, 0.0)
    return bool(needs.any() and (left.gives_less_than(needs).any() or left.takes_less_than(room).any()))


def _with_second_thoughts(standing: Standing, moves: Moves) -> Standing:
    """Return the fleet after the moves, free to move the same tiles once more: nothing is under way before the end."""
    return replace(standing.after(moves), tile_movable=standing.tile_movable)


def _net(before: Standing, after: Standing) -> Moves:
    """Return what all steps come to: one move for each tile that ends elsewhere, those off the hottest pods first."""
    tiles = np.flatnonzero(before.tile_pod != after.tile_pod).astype(np.int32)
    tiles = tiles[np.lexsort((-before.tile_load[tiles], -before.utilization[before.tile_pod[tiles]]))]
    return Moves(tiles, after.tile_pod[tiles])
