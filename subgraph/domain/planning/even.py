"""Owns the order of a balancing round: hot pods first, then cold ones; and the reason if nothing helps."""

from dataclasses import dataclass, replace

import numpy as np

from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.balance import balance
from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import UNOWNED, PlanningInput
from subgraph.domain.planning.fill import fill
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import SkipReason
from subgraph.domain.planning.standing import Moves, Standing


@dataclass(frozen=True, slots=True, eq=False)
class Evening:
    """What both phases decided: their moves, why there are none, and whether a budget held some back."""

    balanced: Moves
    filled: Moves
    skip: SkipReason | None
    budget_bound: bool

    @classmethod
    def none(cls) -> "Evening":
        """Return the phases that were not asked."""
        return cls(Moves.none(), Moves.none(), None, budget_bound=False)


def even(standing: Standing, policy: BalancePolicy, in_all: Allowance) -> Evening:
    """Bring hot pods down to the target, then fill cold ones with what is left of the same budget."""
    budget = Budget.of(standing, policy, in_all)
    balancing = balance(standing, policy, budget)
    left = budget.for_filling(standing, policy).less(standing, balancing.moves)
    filling = fill(standing.after(balancing.moves), policy, left)
    skip = balancing.skip
    if filling.moves.tiles.size:
        skip = None
    elif balancing.skip in (SkipReason.BALANCED, SkipReason.WITHIN_HYSTERESIS) and filling.skip:
        skip = filling.skip
    return Evening(balancing.moves, filling.moves, skip, balancing.budget_bound or filling.budget_bound)


def why_nothing_fits(
    standing: Standing, columns: PlanningInput, policy: BalancePolicy, in_all: Allowance
) -> SkipReason:
    """Return what keeps a round from helping where nothing fits: tiles that rest, or that are handed over now.

    It plans again, as if they were free: whoever waits for them wants to know that they would do.
    """
    held_by = (
        (SkipReason.COOLING_DOWN, columns.tile_cools),
        (SkipReason.HANDOFFS_IN_FLIGHT, columns.tile_in_handoff),
    )
    owned = standing.tile_pod != UNOWNED
    if standing.rules is not None:
        owned &= standing.rules.tile_pin == UNOWNED
    for reason, held in held_by:
        if held is None or not np.any(held & owned):
            continue
        standing = replace(standing, tile_movable=standing.tile_movable | (held & owned))
        freed = even(standing, policy, in_all)
        if freed.balanced.tiles.size or freed.filled.tiles.size:
            return reason
    return SkipReason.NOTHING_FITS
