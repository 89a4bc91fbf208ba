"""Owns a beam search at the end of a round: for a few pods and their heaviest tiles, is there a better distribution?"""

from dataclasses import replace

import numpy as np

from subgraph.domain.planning.allowance import Allowance
from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import UNOWNED, Counts, Flags, Loads, Rows
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing
from subgraph.domain.planning.ways import Ways, admitted, branched, within_limits

# What is looked at is bounded, so that the time is: these pods of each kind, so many tiles, so many ways kept open.
HOT_PODS_MAX = 2
COLD_PODS_MAX = 3
TILES_MAX = 14
WAYS_MAX = 256
# In fair utilizations: what it is worth to move a fair share, to make one more handoff, and to cool a pod that is
# above the target but not the hottest by one fair share.
CHURN_COST = 0.01
HANDOFF_COST = 0.00002
OTHERS_WEIGHT = 0.03


def refine(before: Standing, after: Standing, policy: BalancePolicy, budget: Budget) -> Standing:
    """Return the fleet after the round, bettered if there is a better way within the budget.

    Better is a lower peak (down to the target), then less load moved. All tiles of a few pods are dealt anew, the
    heaviest first, and of all ways to do so the most promising are kept open; it holds for any size of fleet.
    """
    pods = _pods_in_question(before, after)
    part = np.full(before.pod_load.size + 1, UNOWNED, np.int32)  # the last one stands for UNOWNED
    part[pods] = np.arange(pods.size)
    home, now = part[before.tile_pod], part[after.tile_pod]
    tiles = np.flatnonzero(before.tile_movable & (home >= 0) & (now >= 0) & (before.tile_load > 0)).astype(np.int32)
    tiles = tiles[np.lexsort((-before.tile_load[tiles], home[tiles] == now[tiles]))][:TILES_MAX]
    tiles = tiles[np.argsort(-before.tile_load[tiles], kind="stable")]
    if not tiles.size:
        return after
    loads, home, now = before.tile_load[tiles], home[tiles], now[tiles]
    base = after.pod_load[pods] - np.bincount(now, weights=loads, minlength=pods.size)
    left = _left(before, after, budget.in_all, loads[home != now])
    score = _Score(before, policy, pods)
    undecided = np.bincount(home, weights=loads, minlength=pods.size)
    ways = Ways(base[None, :], np.zeros(1), np.zeros(1, np.int64), np.empty((1, 0), np.int32))
    for position, tile in enumerate(tiles.tolist()):
        undecided = undecided - np.where(np.arange(pods.size) == home[position], loads[position], 0.0)
        choice = np.flatnonzero(_open_to(before, tile, pods, int(home[position]))).astype(np.int32)
        ways = branched(ways, choice, int(home[position]), float(loads[position]))
        ways = ways.only(admitted(ways, left))
        cost = score.of(ways.load, ways.load + undecided, ways.churn, ways.moves)
        if cost.size > WAYS_MAX:
            ways = ways.only(np.sort(np.argpartition(cost, WAYS_MAX)[:WAYS_MAX]))
    gained = np.stack([(ways.pods == pod).sum(axis=1) for pod in range(pods.size)], axis=1)
    may_gain = np.bincount(now, minlength=pods.size) + np.maximum(
        after.pod_slots[pods], before.pod_tiles[pods] - after.pod_tiles[pods]
    )
    ways = ways.only(np.all(gained <= may_gain, axis=1))
    ways = ways.only(within_limits(ways, loads, home, now, pods, _left_to_pods(before, after, budget, tiles)))
    if not ways.churn.size:
        return after
    cost = score.of(ways.load, ways.load, ways.churn, ways.moves)
    if score.at_target(after.pod_load[pods]).all():
        cost[~score.at_target(ways.load)] = np.inf  # less churn is no reason to miss the target
    best = int(np.argmin(cost))
    moved = home != now
    present = score.of(
        after.pod_load[pods][None, :],
        after.pod_load[pods][None, :],
        np.array([loads[moved].sum()]),
        np.array([np.count_nonzero(moved)]),
    )
    if cost[best] >= present[0] * (1 - TOLERANCE):
        return after
    changed = np.flatnonzero(ways.pods[best] != now)
    bettered = after.after(Moves(tiles[changed], pods[ways.pods[best][changed]]))
    return bettered if _cools(before, bettered, policy) else after


def _left(before: Standing, after: Standing, allowance: Allowance, undone: Loads) -> Allowance:
    """Return what the tiles in question may spend: what is left, and at least what the round spends on them.

    A single tile or swap may outweigh the whole budget; whatever moves instead may weigh as much.
    """
    moved = before.tile_pod != after.tile_pod
    elsewhere_load = float(before.tile_load[moved].sum()) - float(undone.sum())
    elsewhere = int(np.count_nonzero(moved)) - undone.size
    left = allowance.less(max(0.0, elsewhere_load), elsewhere)
    return replace(left, load=max(left.load, float(undone.sum())))


def _left_to_pods(before: Standing, after: Standing, budget: Budget, tiles: Rows) -> Budget:
    """Return what is left once everything but these tiles has moved."""
    elsewhere = before.tile_pod != after.tile_pod
    elsewhere[tiles] = False
    moved = np.flatnonzero(elsewhere).astype(np.int32)
    return budget.less(before, Moves(moved, after.tile_pod[moved]))


def _pods_in_question(before: Standing, after: Standing) -> Rows:
    """Return the hottest pods, as they were and as they are, and those with most room."""
    partakes = np.flatnonzero(~before.pod_evacuates)
    was, now = (one.utilization[partakes] for one in (before, after))
    hottest = np.concatenate([partakes[np.argsort(-heat, kind="stable")[:HOT_PODS_MAX]] for heat in (now, was)])
    hottest = hottest[np.sort(np.unique(hottest, return_index=True)[1])][:HOT_PODS_MAX]
    receiving = np.flatnonzero(before.pod_receives)
    room = (after.fair_share - after.pod_load)[receiving]
    coldest = receiving[np.argsort(-room, kind="stable")[:COLD_PODS_MAX]]
    return np.union1d(hottest, coldest).astype(np.int32)


def _open_to(standing: Standing, tile: int, pods: Rows, home: int) -> Flags:
    allowed: Flags = standing.pod_receives[pods]
    if standing.rules is not None:
        allowed = allowed & standing.rules.group_allows[standing.rules.tile_group[tile], pods]
    open_pods: Flags = allowed | (np.arange(pods.size) == home)
    return open_pods


class _Score:
    """What a way costs at least: in utilization, the peak above all."""

    def __init__(self, standing: Standing, policy: BalancePolicy, pods: Rows) -> None:
        self._level, self._target = standing.level, policy.target * standing.level
        self._capacity = standing.pod_capacity[pods]

    def of(self, decided: Loads, load: Loads, churn: Loads, moves: Counts) -> Loads:
        """Return the cost of ways with this much load decided on, and in all while the rest stays at home."""
        heat = decided / self._capacity
        peak = np.maximum(heat.max(axis=1), self._target)
        others = np.maximum(heat - self._target, 0.0).sum(axis=1)
        to_move = churn + np.maximum(load - peak[:, None] * self._capacity, 0.0).sum(axis=1)
        cost: Loads = peak + OTHERS_WEIGHT * others + CHURN_COST * to_move / self._capacity.mean()
        return cost + HANDOFF_COST * self._level * moves

    def at_target(self, load: Loads) -> Flags:
        """Return, way by way, whether no pod has more than the target."""
        within: Flags = np.all(load <= self._target * self._capacity * (1 + TOLERANCE), axis=-1)
        return within


def _cools(before: Standing, after: Standing, policy: BalancePolicy) -> bool:
    """Whether all pods that change end cooler than the hottest of them was: so a fixed load comes to rest."""
    touched = np.flatnonzero(before.pod_load != after.pod_load)
    if not touched.size:
        return True
    gain = before.utilization[touched].max() - after.utilization[touched].max()
    return bool(gain >= policy.gain_ratio_min * before.level)
