"""Owns the phase that empties draining pods, heaviest tiles first, within a budget of its own."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.allot import allot
from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.columns import UNOWNED, Flags, Rows
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import Moves, Standing


@dataclass(frozen=True, slots=True, eq=False)
class Evacuation:
    """What the phase decided: its moves, the tiles for which there is no pod, and whether the budget held some back."""

    moves: Moves
    stranded: Rows
    budget_bound: bool

    @classmethod
    def none(cls) -> "Evacuation":
        """Return the phase that has nothing to do."""
        return cls(Moves.none(), np.empty(0, np.int32), budget_bound=False)


def evacuate(standing: Standing, policy: BalancePolicy, allowance: Allowance) -> Evacuation:
    """Move what is movable off the draining pods. A handoff under way or a pin comes first: such a tile stays."""
    if not standing.pod_evacuates.any():
        return Evacuation.none()
    leaves = standing.tile_movable & (standing.tile_pod != UNOWNED) & standing.pod_evacuates[standing.tile_pod]
    leaving = np.flatnonzero(leaves).astype(np.int32)
    leaving = leaving[np.argsort(-standing.tile_load[leaving], kind="stable")]
    if not standing.pod_receives.any():
        return Evacuation(Moves.none(), leaving, budget_bound=False)
    bound_to_stay = _bound_to_stay(leaving, standing)
    leaving, stuck = leaving[~bound_to_stay], leaving[bound_to_stay]
    going = leaving[: allowance.admits(standing.tile_load[leaving])]
    targets = allot(going, standing, policy)
    placed = targets != UNOWNED
    stranded = np.concatenate((stuck, going[~placed]))
    return Evacuation(Moves(going[placed], targets[placed]), stranded, going.size < leaving.size)


def _bound_to_stay(tiles: Rows, standing: Standing) -> Flags:
    """Return which of these no rule lets go anywhere: they must not use up the budget of the others."""
    rules = standing.rules
    if rules is None:
        return np.zeros(tiles.size, np.bool_)
    group_has_pod: Flags = np.any(rules.group_allows & standing.pod_receives, axis=1)
    open_to_group = group_has_pod[rules.tile_group[tiles]]
    pins = rules.tile_pin[tiles]
    pin_is_open = standing.pod_receives[pins] & rules.allow(tiles, pins)
    return ~np.where(pins != UNOWNED, pin_is_open, open_to_group)
