"""Owns region growing: tiles without an owner go to an adjacent pod, as far as it has room."""

import numpy as np

from subgraph.domain.planning.border import Border, Receivers, Surroundings
from subgraph.domain.planning.columns import UNOWNED, Loads, Rows
from subgraph.domain.planning.handover import admitted
from subgraph.domain.planning.standing import Moves, Standing

# Each pass adds what lies beside what has an owner by then.
PASSES_MAX = 32


def absorb(tiles: Rows, standing: Standing, up_to: Loads, target_ratio: float) -> Moves:
    """Return the tiles that pods beside them take, none of which ends with more load than `up_to`.

    The tiles have no owner. Those that leave the smoothest border come first.
    """
    around = Surroundings.of(standing, 1.0)
    moves = Moves.none()
    if around is None:
        return moves
    pod_load, slots, share = standing.pod_load.copy(), standing.pod_slots.copy(), standing.fair_share
    for _ in range(PASSES_MAX):
        loads = standing.tile_load[tiles]
        room = np.where(slots > 0, np.maximum(up_to - pod_load, 0.0), 0.0)
        receivers = Receivers(room, slots, pod_load, share, target_ratio)
        border = Border.of(tiles, loads, around, receivers)
        beside = np.flatnonzero(border.pod != UNOWNED)
        pods = border.pod[beside]
        taken = beside[admitted(pods, loads[beside], border.cost[beside], receivers)]
        if not taken.size:
            break
        pods = border.pod[taken]
        around.tile_pod[tiles[taken]] = pods
        pod_load += np.bincount(pods, weights=loads[taken], minlength=share.size)
        slots -= np.bincount(pods, minlength=share.size)
        moves = Moves.joined([moves, Moves(tiles[taken], pods)])
        tiles = np.delete(tiles, taken)
    return moves
