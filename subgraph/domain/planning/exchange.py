"""Owns the fallback for a pod that is still hot: the single best move or swap with a cold pod."""

import numpy as np

from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import UNOWNED, Flags, Rows
from subgraph.domain.planning.exchange_table import ExchangeTable
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import Moves, Standing

# A step looks at this many hot pods and this many cold ones, so that its time is bounded; a later round sees the rest.
HOT_PODS_MAX = 64
COLD_PODS_MAX = 32
EXCHANGES_MAX = 64
COLD_PODS_OF_GROUP_MAX = 4
COLD_GROUPS_MAX = 16


def exchange(standing: Standing, policy: BalancePolicy, budget: Budget) -> tuple[Moves, bool]:
    """Return moves and swaps, and whether the budget of the round held one back.

    Each leaves both pods cooler than the hotter of them was, by the policy's least gain: a swap of nearly equal tiles
    reaches what no single tile can, and a pod may end above the target if the other was further above it.
    """
    hot, cold = _hottest(standing, policy), _coldest(standing)
    if not hot.size:
        return Moves.none(), False
    table = ExchangeTable(standing, policy, budget, hot, cold)
    for _ in range(EXCHANGES_MAX):
        pod = table.hottest()
        if pod is None:
            break
        best = table.best_exchange(pod)
        if best is None:
            table.set_aside(pod)
        elif not table.apply(best):
            return table.moves(), True
    return table.moves(), False


def _hottest(standing: Standing, policy: BalancePolicy) -> Rows:
    """Return the pods above the target that have a chance, hottest first.

    A tile that makes up all the load of a pod as large as any can be hosted no better; left in, such pods would for
    ever take the places of those that can be helped.
    """
    is_hot = standing.excess(policy.target) > 0
    on_hot = np.flatnonzero(is_hot[standing.tile_pod] & (standing.tile_pod != UNOWNED))
    heaviest = np.zeros_like(standing.pod_load)
    np.maximum.at(heaviest, standing.tile_pod[on_hot], standing.tile_load[on_hot])
    rest_min = policy.gain_ratio_min * standing.fair_share
    largest = standing.pod_capacity[standing.pod_receives].max(initial=0.0)
    hopeless = (standing.pod_load - heaviest <= rest_min) & (standing.pod_capacity >= largest)
    hot = np.flatnonzero(is_hot & ~hopeless)
    return hot[np.argsort(-standing.utilization[hot], kind="stable")][:HOT_PODS_MAX].astype(np.int32)


def _coldest(standing: Standing) -> Rows:
    """Return the receiving pods with most room, whether or not they have a slot: a swap needs none."""
    pods: Rows = np.flatnonzero(standing.pod_receives).astype(np.int32)
    room = (standing.fair_share - standing.pod_load)[pods]
    pods = pods[np.argsort(-room, kind="stable")]
    if standing.rules is None:
        return pods[:COLD_PODS_MAX]
    # Those with most room may be closed to the labels of the tiles in question: each group brings some of its own.
    allows = standing.rules.group_allows[:, pods]
    some = np.cumsum(allows, axis=1) <= COLD_PODS_OF_GROUP_MAX
    chosen: Flags = np.any((allows & some)[:COLD_GROUPS_MAX], axis=0)
    chosen[:COLD_PODS_MAX] = True
    return pods[chosen]
