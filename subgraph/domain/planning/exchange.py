"""Owns the last resort for a pod that is still hot: the one move or swap with a cold pod that helps most."""

from dataclasses import dataclass, field

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Flags, Loads, Rows
from subgraph.domain.planning.policy import Allowance, BalancePolicy
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing

# A step looks at this many hot pods and this many cold ones, so that its time is bounded; a later round sees the rest.
HOT_PODS_MAX = 64
COLD_PODS_MAX = 32
EXCHANGES_MAX = 64
COLD_PODS_OF_GROUP_MAX = 4
COLD_GROUPS_MAX = 16
# To move a whole fair share must lower the peak by this much of the fair utilization.
CHURN_COST_RATIO = 0.01


def exchange(standing: Standing, policy: BalancePolicy, allowance: Allowance) -> tuple[Moves, bool]:
    """Return moves and swaps, and whether the budget held one back.

    Each leaves both pods cooler than the hotter of them was, by the policy's least gain: a swap of nearly equal tiles
    reaches what no single tile can, and a pod may end above the target if the other was further above it.
    """
    hot, cold = _hottest(standing, policy), _coldest(standing)
    if not hot.size:
        return Moves.none(), False
    table = _Table.of(standing, policy, hot, cold)
    for _ in range(EXCHANGES_MAX):
        pod = table.hottest()
        if pod is None:
            break
        legs = table.best_exchange(pod, cold[cold != pod])
        if legs is None:
            table.settled[pod] = True
            continue
        load = float(standing.tile_load[legs.tiles].sum())
        if not allowance.admits_together(load, legs.tiles.size):
            return table.moves(), True
        allowance = allowance.less(load, legs.tiles.size)
        table.apply(legs)
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


@dataclass(slots=True, eq=False)
class _Table:
    """The pods that take part and their tiles, changing as exchanges are made."""

    standing: Standing
    level: float  # the utilization to reach
    gain_min: float
    pods: Rows  # all that take part
    pool: Rows  # their movable tiles, lightest first
    pool_load: Loads
    pool_pod: Rows
    pod_load: Loads
    pod_slots: Counts
    settled: Flags = field(init=False)  # pods for which nothing helps in this step; the next one asks again

    def __post_init__(self) -> None:
        self.settled = np.ones(self.pod_load.size, np.bool_)
        self.settled[self.pods] = False

    @classmethod
    def of(cls, standing: Standing, policy: BalancePolicy, hot: Rows, cold: Rows) -> "_Table":
        pods = np.union1d(hot, cold).astype(np.int32)
        takes_part = np.zeros(standing.pod_load.size + 1, np.bool_)  # the last one stands for UNOWNED
        takes_part[pods] = True
        pool = np.flatnonzero(standing.tile_movable & takes_part[standing.tile_pod])
        pool = pool[np.argsort(standing.tile_load[pool], kind="stable")]
        return cls(
            standing=standing,
            level=policy.target * standing.level,
            gain_min=policy.gain_ratio_min * standing.level,
            pods=pods,
            pool=pool.astype(np.int32),
            pool_load=standing.tile_load[pool],
            pool_pod=standing.tile_pod[pool],
            pod_load=standing.pod_load.copy(),
            pod_slots=standing.pod_slots.copy(),
        )

    def hottest(self) -> int | None:
        """Return the hottest pod above the level for which something may help still."""
        pods = self.pods[~self.settled[self.pods]]
        utilization = self.pod_load[pods] / self.standing.pod_capacity[pods]
        if not pods.size or utilization.max() <= self.level * (1 + TOLERANCE):
            return None
        return int(pods[np.argmax(utilization)])

    def apply(self, legs: Moves) -> None:
        """Count these moves as done."""
        rows = np.array([int(np.flatnonzero(self.pool == tile)[0]) for tile in legs.tiles.tolist()])
        sources, loads = self.pool_pod[rows], self.pool_load[rows]
        np.add.at(self.pod_load, legs.targets, loads)
        np.subtract.at(self.pod_load, sources, loads)
        np.subtract.at(self.pod_slots, legs.targets, 1)
        np.add.at(self.pod_slots, sources, 1)
        self.pool_pod[rows] = legs.targets

    def moves(self) -> Moves:
        """Return where the tiles ended that are not where they began."""
        moved = self.pool_pod != self.standing.tile_pod[self.pool]
        return Moves(self.pool[moved], self.pool_pod[moved])

    def best_exchange(self, pod: int, partners: Rows) -> Moves | None:
        """Return the best move or swap of this pod over all its tiles and its partners', if any gains enough."""
        mine = np.flatnonzero((self.pool_pod == pod) & (self.pool_load > 0)).astype(np.int32)
        returned, hosts = self._offers(pod, partners)
        rules = self.standing.rules
        if rules is None:
            return self._best_of(pod, mine, returned, hosts)[1]
        best: tuple[float, Moves | None] = (np.inf, None)
        for group, positions in rules.by_group(self.pool[mine]):
            open_to_group = rules.group_allows[group, hosts]
            found = self._best_of(pod, mine[positions], returned[open_to_group], hosts[open_to_group])
            best = min(best, found, key=lambda one: one[0])
        return best[1]

    def _best_of(self, pod: int, mine: Rows, returned: Rows, hosts: Rows) -> tuple[float, Moves | None]:
        """Return the best exchange of one of these tiles against one of these offers, and its cost."""
        if not mine.size or not returned.size:
            return np.inf, None
        size, loads = float(self.standing.pod_capacity[pod]), self.pool_load[mine]
        load, host_load, host_size = float(self.pod_load[pod]), self.pod_load[hosts], self.standing.pod_capacity[hosts]
        back = np.where(returned == UNOWNED, 0.0, self.pool_load[returned])
        # The least that reaches the level; and, on either side of what would level both pods, the nearest tile.
        enough = np.searchsorted(loads, (back + load - self.level * size) * (1 - TOLERANCE))
        beyond = np.searchsorted(loads, back + (load * host_size - host_load * size) / (size + host_size))
        choice = np.stack((enough, beyond, beyond - 1)).clip(0, mine.size - 1)
        given = loads[choice]
        peak = np.maximum((load - given + back) / size, (host_load + given - back) / host_size)
        churn_cost = CHURN_COST_RATIO * (given + back) / size
        cost = np.maximum(peak, self.level) + churn_cost
        cost[peak + churn_cost > load / size - self.gain_min] = np.inf
        best = int(np.argmin(cost))
        if not np.isfinite(cost.flat[best]):
            return np.inf, None
        offer = best % returned.size
        tiles, targets = [self.pool[mine[choice.flat[best]]]], [hosts[offer]]
        if returned[offer] != UNOWNED:
            tiles, targets = [*tiles, self.pool[returned[offer]]], [*targets, pod]
        return float(cost.flat[best]), Moves(np.array(tiles, np.int32), np.array(targets, np.int32))

    def _offers(self, pod: int, partners: Rows) -> tuple[Rows, Rows]:
        """Return what may come back (rows of the pool, UNOWNED for nothing) and, one by one, from which pod."""
        hosts = partners[self.pod_slots[partners] > 0]
        nothing = np.full(hosts.size, UNOWNED, np.int32)
        if not self.standing.pod_receives[pod]:
            return nothing, hosts
        swapped = np.flatnonzero(np.isin(self.pool_pod, partners)).astype(np.int32)
        if self.standing.rules is not None:
            back = np.full(swapped.size, pod, np.int32)
            swapped = swapped[self.standing.rules.allow(self.pool[swapped], back)]
        return np.concatenate((nothing, swapped)), np.concatenate((hosts, self.pool_pod[swapped]))
