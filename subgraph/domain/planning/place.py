"""Owns the phase that assigns every tile without an owner, regardless of budget: nobody works on it until then."""

import numpy as np

from subgraph.domain.planning.allot import allot
from subgraph.domain.planning.columns import UNOWNED, Rows
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import Moves, Standing


def place(standing: Standing, policy: BalancePolicy) -> tuple[Moves, Rows]:
    """Return the placements, and the tiles for which there is no pod. No budget applies, hard constraints do."""
    homeless = np.flatnonzero((standing.tile_pod == UNOWNED) & ~standing.tile_waits).astype(np.int32)
    if not homeless.size:
        return Moves.none(), homeless
    targets = allot(homeless, standing, policy)
    placed = targets != UNOWNED
    return Moves(homeless[placed], targets[placed]), homeless[~placed]
