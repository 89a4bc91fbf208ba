"""Owns the phase that enforces constraints on owned tiles: to their pin, off pods that labels forbid."""

import numpy as np

from subgraph.domain.planning.allot import allot
from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.columns import UNOWNED
from subgraph.domain.planning.evacuate import Evacuation
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import Moves, Standing


def repair(standing: Standing, policy: BalancePolicy, allowance: Allowance) -> Evacuation:
    """Move what is movable and on a wrong pod; it works on where it is until then, and stays if no pod may have it."""
    rules = standing.rules
    if rules is None:
        return Evacuation.none()
    owned = np.flatnonzero(standing.tile_movable & (standing.tile_pod != UNOWNED)).astype(np.int32)
    owned = owned[~standing.pod_evacuates[standing.tile_pod[owned]]]
    pods, pins = standing.tile_pod[owned], rules.tile_pin[owned]
    astray = owned[np.where(pins != UNOWNED, pods != pins, ~rules.allow(owned, pods))]
    astray = astray[np.argsort(-standing.tile_load[astray], kind="stable")]
    targets = allot(astray, standing, policy)
    possible = targets != UNOWNED
    stranded, leaving, targets = astray[~possible], astray[possible], targets[possible]
    admitted = allowance.admits(standing.tile_load[leaving])
    return Evacuation(Moves(leaving[:admitted], targets[:admitted]), stranded, admitted < leaving.size)
