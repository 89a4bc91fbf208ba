"""Owns the phase that empties draining pods, the heaviest tiles first, within a budget of its own."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Rows
from subgraph.domain.planning.deal import deal
from subgraph.domain.planning.policy import Allowance
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


def evacuate(standing: Standing, allowance: Allowance) -> Evacuation:
    """Move what is movable off the draining pods. A handoff under way or a pin comes first: such a tile stays."""
    if not standing.pod_evacuates.any():
        return Evacuation.none()
    leaves = standing.tile_movable & (standing.tile_pod != UNOWNED) & standing.pod_evacuates[standing.tile_pod]
    leaving = np.flatnonzero(leaves).astype(np.int32)
    leaving = leaving[np.argsort(-standing.tile_load[leaving], kind="stable")]
    if not standing.pod_receives.any():
        return Evacuation(Moves.none(), leaving, budget_bound=False)
    going = leaving[: allowance.admits(standing.tile_load[leaving])]
    targets = deal(standing.tile_load[going], standing)
    placed = targets != UNOWNED
    return Evacuation(Moves(going[placed], targets[placed]), going[~placed], going.size < leaving.size)
