"""Owns the explanation of one tile's placement: for each pod, the state with the tile and violated constraints."""

from dataclasses import dataclass

import numpy as np

from subgraph.domain.planning.columns import UNOWNED, Counts, Flags, Loads, PlanningInput
from subgraph.domain.planning.policy import BalancePolicy
from subgraph.domain.planning.standing import Standing
from subgraph.domain.planning.violations import Violation, violations_of


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """The score terms of a tile, all columns with one entry a pod; the pod that has it shows how things stand."""

    tile: int
    pod: int  # that has the tile, UNOWNED where none has
    load: float
    possible: Flags  # whether no hard constraint forbids the tile there
    violations: list[tuple[Violation, ...]]
    utilization_after: Loads
    gain: Loads  # by how much the hotter of its pod and this one cools; below 0 where that gets hotter
    churn: Loads  # the load that would move
    neighbors_kept: Counts  # the neighbouring tiles this pod has


def explain(columns: PlanningInput, policy: BalancePolicy, tile: int) -> Explanation:
    """Account for a tile on every pod, as the fleet stands."""
    standing = Standing.of(columns)
    load, pod, pods = float(standing.tile_load[tile]), int(columns.tile_pod[tile]), columns.pod_capacity.size
    elsewhere = np.arange(pods) != pod
    after = (standing.pod_load + np.where(elsewhere, load, 0.0)) / standing.pod_capacity
    gain = np.zeros(pods)
    if pod != UNOWNED:
        before = np.maximum(standing.utilization, standing.utilization[pod])
        left_behind = (standing.pod_load[pod] - load) / standing.pod_capacity[pod]
        gain = np.where(elsewhere, before - np.maximum(after, left_behind), 0.0)
    violations = violations_of(columns, tile)
    soft = () if policy.capacity_hard else (Violation.OVER_CAPACITY,)
    return Explanation(
        tile=tile,
        pod=pod,
        load=load,
        possible=np.array([all(code in soft for code in codes) for codes in violations], np.bool_),
        violations=violations,
        utilization_after=after,
        gain=gain,
        churn=np.where(elsewhere & (pod != UNOWNED), load, 0.0),
        neighbors_kept=columns.neighbors_on_pods(tile),
    )
