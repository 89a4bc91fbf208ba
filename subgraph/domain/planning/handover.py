"""Owns which tiles hot pods give to whom, where neighbours are known: few cut edges, little excess load."""

import numpy as np

from subgraph.domain.planning.border import Border, Receivers, Surroundings
from subgraph.domain.planning.columns import UNOWNED, Flags, Loads, Positions, Rows
from subgraph.domain.planning.fit import fit_by_rules
from subgraph.domain.planning.segments import running_sums, turns
from subgraph.domain.planning.shed import Candidates
from subgraph.domain.planning.subset import OFFERS, cheapest_cover

# A handoff costs as much as so many edges.
HANDOFF_EDGES = 2
# A pod with more to give than this many of its average tiles gives what is cheapest for its load, down to that many.
SEARCHED_TILES = 8
# A tile lighter than this part of what is wanted counts as that heavy where its cost is set against its load.
LIGHTEST_RATIO = 1e-9


def hand_over(
    candidates: Candidates, need: Loads, spare: Loads, around: Surroundings, receivers: Receivers
) -> tuple[Positions, Rows]:
    """Return the positions, among the candidates, of tiles to give in this pass, and the pods that get them.

    Each pod picks a set of its tiles that covers its need, and goes little over it, if it can. In a pass
    in which it can give something to a pod beside it, it gives nothing else: what lies behind is at the border next.
    Where too many want to the same pod, the cheapest come first, and the others look again in the next pass.
    """
    if not candidates.tiles.size:
        return np.empty(0, np.intp), np.empty(0, np.int32)
    border = Border.of(candidates.tiles, candidates.loads, around, receivers)
    cost = border.cost + HANDOFF_EDGES * around.edge_cost
    given = np.flatnonzero(_chosen(candidates, need, spare, border.pod, cost, around.over_max))
    beside = border.pod[given] != UNOWNED
    has_beside = np.bincount(candidates.pods[given[beside]], minlength=need.size) > 0
    far, given = given[~beside & ~has_beside[candidates.pods[given]]], given[beside]
    targets = border.pod[given]
    fits = admitted(targets, candidates.loads[given], cost[given], receivers)
    given, targets = given[fits], targets[fits]
    room = receivers.room - np.bincount(targets, weights=candidates.loads[given], minlength=need.size)
    slots = receivers.slots - np.bincount(targets, minlength=need.size)
    load = receivers.load + np.bincount(targets, weights=candidates.loads[given], minlength=need.size)
    found = fit_by_rules(
        candidates.tiles[far], candidates.loads[far], room, slots, load, receivers.fair_share, around.rules
    )
    far, found = far[found != UNOWNED], found[found != UNOWNED]
    return np.concatenate((given, far)), np.concatenate((targets, found))


def admitted(targets: Rows, loads: Loads, cost: Loads, receivers: Receivers) -> Flags:
    """Return which of these tiles the pods that they want to can take, the cheapest first."""
    order = np.lexsort((cost, targets))
    pods = targets[order]
    within = running_sums(loads[order], pods) <= receivers.room[pods] * (1 + 1e-12)
    fits = np.empty(order.size, np.bool_)
    fits[order] = within & (turns(pods) < receivers.slots[pods])
    return fits


def _chosen(candidates: Candidates, need: Loads, spare: Loads, near: Rows, cost: Loads, over_max: float) -> Flags:
    """Return which candidates their pods pick."""
    pods, loads = candidates.pods, candidates.loads
    chosen = _first_of_many(candidates, need, near, cost)
    need = need - np.bincount(pods[chosen], weights=loads[chosen], minlength=need.size)
    rest = np.flatnonzero(~chosen & (need[pods] > 0))
    if not rest.size:
        return chosen
    wanted, weight = need[pods[rest]], loads[rest]
    too_much = weight > wanted + np.minimum(over_max, spare[pods[rest]])
    # What it would cost to cover the need with such tiles; those that are too much come last, the lightest first.
    tiles_needed = np.maximum(wanted / np.maximum(weight, LIGHTEST_RATIO * wanted), 1.0)
    estimate = np.where(too_much, weight, cost[rest] * tiles_needed)
    order = rest[np.lexsort((cost[rest], estimate, too_much, pods[rest]))]
    turn = turns(pods[order])
    row = np.cumsum(turn == 0) - 1
    offers = np.full((row[-1] + 1, OFFERS), -1)
    kept = turn < OFFERS
    # The offers alternate between the halves: the best of all, then the second best, and so on.
    column = turn[kept] // 2 + (turn[kept] % 2) * (OFFERS // 2)
    offers[row[kept], column] = order[kept]
    there = offers >= 0
    load = np.where(there, loads[offers], 0.0)
    price = np.where(there, loads[offers] + cost[offers], np.inf)
    pod = pods[order[turn == 0]]
    given, covers = cheapest_cover(load, price, need[pod], np.full(pod.size, over_max), spare[pod])
    given |= ~covers[:, None] & there & (np.cumsum(load, axis=1) <= need[pod, None])
    chosen[offers[given]] = True
    return chosen


def _first_of_many(candidates: Candidates, need: Loads, near: Rows, cost: Loads) -> Flags:
    """Return what pods with far more to give than a few tiles give to pods beside them, the cheapest per load first."""
    pods, loads = candidates.pods, candidates.loads
    mean = np.bincount(pods, weights=loads, minlength=need.size) / np.maximum(np.bincount(pods, minlength=need.size), 1)
    limit = need - SEARCHED_TILES * mean
    may = np.flatnonzero((near != UNOWNED) & (loads <= limit[pods]))
    order = may[np.lexsort((cost[may] / np.maximum(loads[may], LIGHTEST_RATIO * limit[pods[may]]), pods[may]))]
    chosen = np.zeros(pods.size, np.bool_)
    chosen[order[running_sums(loads[order], pods[order]) <= limit[pods[order]]]] = True
    return chosen
