"""Owns the transfer of load from overloaded pods to pods with room, in passes of selecting and fitting."""

import numpy as np

from subgraph.domain.planning.border import Receivers, Surroundings
from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import UNOWNED, Counts, Flags, Loads
from subgraph.domain.planning.fit import fit_by_rules
from subgraph.domain.planning.handover import hand_over
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.shed import Candidates, shed
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing

# A pass that could not place all that was cut is followed by one that cuts what still fits.
PASSES_MAX = 12


def transfer(
    standing: Standing, candidates: Candidates, down_to: Loads, up_to: Loads, policy: BalancePolicy, budget: Budget
) -> tuple[Moves, bool]:
    """Bring sources down to one load and receivers up to another at most, in passes, until nothing fits any more.

    Returned are the moves, and whether the budget of the round cut them short. A pod that is no source has `down_to`
    infinite, one that is no receiver `up_to` 0. A source stays at or above its fair share.
    """
    share = standing.fair_share
    pod_load, pod_slots = standing.pod_load.copy(), standing.pod_slots.copy()
    moves, excess = Moves.none(), np.maximum(0.0, pod_load - down_to)
    around = Surroundings.of(
        standing, policy.locality_ratio * float(excess[excess > 0].mean()) if excess.any() else 0.0
    )
    for _ in range(PASSES_MAX):
        left = budget.less(standing, moves)
        room = room_of(up_to - pod_load, pod_slots, left)
        need = np.minimum(np.maximum(0.0, pod_load - down_to), np.where(left.give_tiles > 0, left.give_load, 0.0))
        need = np.where(need > TOLERANCE * share, np.maximum(need, policy.gain_ratio_min * share), 0.0)
        candidates = candidates.only((need[candidates.pods] > 0) & may_fit(standing, candidates, room))
        spare = np.minimum(pod_load - share, left.give_load) - need
        slots = np.minimum(pod_slots, left.take_tiles)
        given, found = np.empty(0, np.intp), np.empty(0, np.int32)
        if around is not None:
            receivers = Receivers(room, slots, pod_load, share, policy.target)
            given, found = hand_over(candidates, need, spare, around, receivers)
        if not given.size:
            given = shed(candidates, need, spare, share)
            found = fit_by_rules(
                candidates.tiles[given], candidates.loads[given], room, slots, pod_load, share, standing.rules
            )
            given, found = given[found != UNOWNED], found[found != UNOWNED]
        if not given.size:
            break
        sources, loads = candidates.pods[given], candidates.loads[given]
        order = np.lexsort((-loads, -(pod_load / standing.pod_capacity)[sources]))  # off the hottest first
        order = order[left.given_in_turn(sources[order])]
        going = order[: left.in_all.admits(loads[order])]
        trimmed = going.size < order.size
        given, found, sources, loads = given[going], found[going], sources[going], loads[going]
        pod_load += np.bincount(found, weights=loads, minlength=pod_load.size)
        pod_load -= np.bincount(sources, weights=loads, minlength=pod_load.size)
        pod_slots -= np.bincount(found, minlength=pod_slots.size)
        if around is not None:
            around.tile_pod[candidates.tiles[given]] = found
        moves = Moves.joined([moves, Moves(candidates.tiles[given], found)])
        if trimmed:
            return moves, True
        candidates = candidates.without(given)
    return moves, False


def room_of(room: Loads, slots: Counts, budget: Budget) -> Loads:
    """Return the load that each pod may take still, of the room that it has."""
    return np.where((slots > 0) & (budget.take_tiles > 0), np.clip(room, 0.0, budget.take_load), 0.0)


def may_fit(standing: Standing, candidates: Candidates, room: Loads) -> Flags:
    """Return which candidates are no heavier than the most room there is for them."""
    rules = standing.rules
    most = room.max(initial=0.0) if rules is None else rules.heaviest_allowed(candidates.tiles, room)
    fits: Flags = candidates.loads <= most
    return fits
