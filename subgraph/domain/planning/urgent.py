"""Owns what precedes balancing: tiles without an owner, on draining pods, or where a constraint forbids them."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.columns import UNOWNED, Rows
from subgraph.domain.planning.evacuate import Evacuation, evacuate
from subgraph.domain.planning.make_way import make_way
from subgraph.domain.planning.place import place
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.reasons import MoveReason
from subgraph.domain.planning.repair import repair
from subgraph.domain.planning.standing import Moves, Standing


@dataclass(frozen=True, slots=True, eq=False)
class Urgent:
    """What these phases decided: their moves by reason, the fleet after them, and the tiles for which there is no pod.

    `in_flight` counts the handoffs under way and those of these moves; `budget_bound`: a budget held some back.
    """

    moves: dict[MoveReason, Moves]
    standing: Standing
    unplaceable: Rows
    in_flight: int
    budget_bound: bool


def urgent(start: Standing, policy: BalancePolicy, tiles_in_flight: int) -> Urgent:
    """Place, evacuate and repair, in this order; then make way for what found no slot."""
    tiles, load_total, in_flight = start.tile_load.size, float(start.tile_load.sum()), tiles_in_flight
    # First those without an owner: what slots there are go to them, a draining pod's tiles are served meanwhile.
    placed, homeless = place(start, policy)
    standing, evacuating, repairing = start.after(placed), Evacuation.none(), Evacuation.none()
    if not policy.paused:
        evacuating = evacuate(standing, policy, policy.evacuation_allowance(tiles, load_total, in_flight))
        standing = standing.after(evacuating.moves)
        in_flight += evacuating.moves.tiles.size
    moves_others = bool(start.pod_receives.any()) and not policy.paused and not policy.emergency
    if moves_others:
        repairing = repair(standing, policy, policy.repair_allowance(tiles, load_total, in_flight))
        standing = standing.after(repairing.moves)
        in_flight += repairing.moves.tiles.size
    moves = {
        MoveReason.PLACED: placed,
        MoveReason.EVACUATED: evacuating.moves,
        MoveReason.REPAIRED: repairing.moves,
    }
    waiting = np.concatenate((homeless, evacuating.stranded, repairing.stranded))
    moved = np.concatenate([one.tiles for one in moves.values()])
    spare = policy.repair_allowance(tiles, load_total, in_flight) if moves_others else Allowance(load=0.0, moves=0)
    way = make_way(standing, waiting, moved, spare)
    standing = standing.after(way)
    waits = np.flatnonzero(start.tile_waits).astype(np.int32)
    return Urgent(
        moves=_with_way(moves, way, start, standing) if way.tiles.size else moves,
        standing=standing,
        unplaceable=np.concatenate((waiting[~np.isin(waiting, way.tiles)], waits)),
        in_flight=in_flight + int(np.count_nonzero(start.tile_pod[np.setdiff1d(way.tiles, moved)] != UNOWNED)),
        budget_bound=evacuating.budget_bound or repairing.budget_bound,
    )


def _with_way(
    moves: dict[MoveReason, Moves], way: Moves, start: Standing, standing: Standing
) -> dict[MoveReason, Moves]:
    """Return the moves with the way made: some go elsewhere, some are more. Who makes way does so for a rule."""
    more = np.setdiff1d(way.tiles, np.concatenate([one.tiles for one in moves.values()])).astype(np.int32)
    owner = start.tile_pod[more]
    drains = np.append(start.pod_evacuates, False)[owner]  # the last one stands for UNOWNED
    why = np.where(owner == UNOWNED, MoveReason.PLACED, np.where(drains, MoveReason.EVACUATED, MoveReason.REPAIRED))
    tiles = {reason: np.concatenate((one.tiles, more[why == reason])) for reason, one in moves.items()}
    return {reason: Moves(these, standing.tile_pod[these]) for reason, these in tiles.items()}
