"""Owns the table of exchanges between hot and cold pods: the best one for each pod, and what it changes."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.budget import Budget
from subgraph.domain.planning.columns import UNOWNED, Rows
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import TOLERANCE, Moves, Standing

# To move a whole fair share must lower the peak by this much of the fair utilization.
CHURN_COST_RATIO = 0.01
# What comes back in a swap is churn too: so many of the lightest tiles of cold pods are tried before all the others.
OFFERS_FIRST = 256


@dataclass(frozen=True, slots=True, eq=False)
class Exchange:
    """A move, or a swap, of rows of the table's pool; how hot the hotter of its two pods is then; what it costs."""

    rows: Rows
    targets: Rows
    peak: float
    cost: float


class ExchangeTable:
    """The pods that take part and their tiles, changing as exchanges are made."""

    def __init__(self, standing: Standing, policy: BalancePolicy, budget: Budget, hot: Rows, cold: Rows) -> None:
        """Lay the table for hot pods, which ask for exchanges, and cold ones, which offer."""
        self._standing, self._budget, self._cold = standing, budget, cold
        self._level = policy.target * standing.level  # the utilization to reach
        self._gain_min = policy.gain_ratio_min * standing.level
        pods = standing.pod_load.size
        self._asks = np.union1d(hot, cold).astype(np.int32)
        self._settled = np.zeros(pods, np.bool_)  # for which nothing helps in this step; the next one asks again
        takes_part = np.zeros(pods + 1, np.bool_)  # the last one stands for UNOWNED
        takes_part[self._asks] = True
        # The pool: the movable tiles of all that take part, lightest first.
        pool = np.flatnonzero(standing.tile_movable & takes_part[standing.tile_pod]).astype(np.int32)
        self._pool = pool[np.argsort(standing.tile_load[pool], kind="stable")]
        self._load, self._pod = standing.tile_load[self._pool], standing.tile_pod[self._pool]
        self._pod_load, self._pod_slots = standing.pod_load.copy(), standing.pod_slots.copy()
        every_pod = np.arange(pods, dtype=np.int32)
        self._heaviest_given, self._heaviest_taken = budget.heaviest_given(every_pod), budget.heaviest_taken(every_pod)
        # Where the rows of a pod began, and what came later.
        self._by_pod = np.argsort(self._pod, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(self._pod[self._by_pod], np.arange(pods + 1))
        self._arrived: dict[int, list[int]] = {}
        is_cold = np.zeros(pods, np.bool_)
        is_cold[cold] = True
        self._lightest = np.flatnonzero(is_cold[self._pod])[:OFFERS_FIRST].astype(np.int32)

    def hottest(self) -> int | None:
        """Return the hottest pod above the level for which something may help still."""
        pods = self._asks[~self._settled[self._asks]]
        utilization = self._pod_load[pods] / self._standing.pod_capacity[pods]
        if not pods.size or utilization.max() <= self._level * (1 + TOLERANCE):
            return None
        return int(pods[np.argmax(utilization)])

    def set_aside(self, pod: int) -> None:
        """Note that nothing helps this pod."""
        self._settled[pod] = True

    def apply(self, exchange: Exchange) -> bool:
        """Count an exchange as done, both legs or none; return whether the budget of the round admitted it."""
        rows, targets = exchange.rows, exchange.targets
        sources, loads = self._pod[rows], self._load[rows]
        if not self._budget.in_all.admits_together(float(loads.sum()), rows.size):
            return False
        self._budget = self._budget.after(loads, sources, targets)
        for row, load, source, target in zip(
            rows.tolist(), loads.tolist(), sources.tolist(), targets.tolist(), strict=True
        ):
            self._pod_load[source] -= load
            self._pod_load[target] += load
            self._pod_slots[source] += 1
            self._pod_slots[target] -= 1
            self._arrived.setdefault(target, []).append(row)
        self._pod[rows] = targets
        touched = np.concatenate((sources, targets))
        self._heaviest_given[touched] = self._budget.heaviest_given(touched)
        self._heaviest_taken[touched] = self._budget.heaviest_taken(touched)
        return True

    def moves(self) -> Moves:
        """Return where the tiles ended that are not where they began."""
        moved = self._pod != self._standing.tile_pod[self._pool]
        return Moves(self._pool[moved], self._pod[moved])

    def best_exchange(self, pod: int) -> Exchange | None:
        """Return the best move or swap of this pod over all its tiles and those of cold pods, if any gains enough."""
        mine = self._rows_on(pod)
        mine = mine[(self._load[mine] > 0) & (self._load[mine] <= self._heaviest_given[pod])]
        best = self._best_by_rules(pod, mine, self._lightest)
        if best is None or best.peak > self._level * (1 + TOLERANCE):
            cold = np.zeros(self._pod_load.size, np.bool_)
            cold[self._cold] = True
            best = self._best_by_rules(pod, mine, np.flatnonzero(cold[self._pod]).astype(np.int32))
        return best

    def _rows_on(self, pod: int) -> Rows:
        """Return the rows of the pool that are on a pod, lightest first."""
        rows = self._by_pod[self._starts[pod] : self._starts[pod + 1]]
        if pod in self._arrived:
            rows = np.unique(np.concatenate((rows, np.array(self._arrived[pod], np.int32))))
        there: Rows = rows[self._pod[rows] == pod]
        return there

    def _best_by_rules(self, pod: int, mine: Rows, offered: Rows) -> Exchange | None:
        """Return the best exchange of one of these rows against one of those, or nothing in return."""
        returned, hosts = self._offers(pod, offered)
        rules = self._standing.rules
        if rules is None:
            return self._best_of(pod, mine, returned, hosts)
        found: list[Exchange] = []
        for group, positions in rules.by_group(self._pool[mine]):
            open_to_group = rules.group_allows[group, hosts]
            best = self._best_of(pod, mine[positions], returned[open_to_group], hosts[open_to_group])
            found += [best] if best else []
        return min(found, key=lambda one: one.cost, default=None)

    def _best_of(self, pod: int, mine: Rows, returned: Rows, hosts: Rows) -> Exchange | None:
        if not mine.size or not returned.size:
            return None
        size, loads = float(self._standing.pod_capacity[pod]), self._load[mine]
        host_load, host_size = self._pod_load[hosts], self._standing.pod_capacity[hosts]
        load, back = float(self._pod_load[pod]), np.where(returned == UNOWNED, 0.0, self._load[returned])
        # The least that reaches the level; and, on either side of what would level both pods, the nearest tile.
        enough = np.searchsorted(loads, (back + load - self._level * size) * (1 - TOLERANCE))
        beyond = np.searchsorted(loads, back + (load * host_size - host_load * size) / (size + host_size))
        choice = np.stack((enough, beyond, beyond - 1)).clip(0, mine.size - 1)
        given = loads[choice]
        peak = np.maximum((load - given + back) / size, (host_load + given - back) / host_size)
        churn_cost = CHURN_COST_RATIO * (given + back) / size
        cost = np.maximum(peak, self._level) + churn_cost
        cost[(peak + churn_cost > load / size - self._gain_min) | (given > self._heaviest_taken[hosts])] = np.inf
        best = int(np.argmin(cost))
        if not np.isfinite(cost.flat[best]):
            return None
        offer = best % returned.size
        rows, targets = [mine[choice.flat[best]]], [hosts[offer]]
        if returned[offer] != UNOWNED:
            rows, targets = [*rows, returned[offer]], [*targets, pod]
        cost_best, peak_best = float(cost.flat[best]), float(peak.flat[best])
        return Exchange(np.array(rows, np.int32), np.array(targets, np.int32), peak_best, cost_best)

    def _offers(self, pod: int, offered: Rows) -> tuple[Rows, Rows]:
        """Return what may come back (rows of the pool, UNOWNED for nothing) and, one by one, from which pod."""
        hosts = self._cold[(self._pod_slots[self._cold] > 0) & (self._cold != pod)]
        nothing = np.full(hosts.size, UNOWNED, np.int32)
        if not self._standing.pod_receives[pod]:
            return nothing, hosts
        pods, loads = self._pod[offered], self._load[offered]
        may = (loads <= self._heaviest_given[pods]) & (loads <= self._heaviest_taken[pod]) & (pods != pod)
        if self._standing.rules is not None:
            may &= self._standing.rules.allow(self._pool[offered], np.full(offered.size, pod, np.int32))
        return np.concatenate((nothing, offered[may])), np.concatenate((hosts, pods[may]))
