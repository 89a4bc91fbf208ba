"""Fleets in a line of text, and what becomes of them: what all tests of the planner share."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from subgraph.domain.planning.columns import NO_LIMIT, UNOWNED, PlanningInput
from subgraph.domain.planning.plan import Plan, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy

POLICY = BalancePolicy()
UNBOUNDED = BalancePolicy(
    load_moved_ratio_max=1e9, evacuation_load_ratio_max=1e9, pod_given_ratio_max=1e9, pod_taken_ratio_max=1e9
)


def fleet(
    loads: Sequence[float],
    owners: Sequence[int],
    capacities: Sequence[float],
    *,
    pinned: Sequence[int] = (),
    cordoned: Sequence[int] = (),
    draining: Sequence[int] = (),
    tiles_max: int = NO_LIMIT,
    in_flight: int = 0,
) -> PlanningInput:
    tiles, pods = np.arange(len(loads)), np.arange(len(capacities))
    return PlanningInput(
        tile_load=np.array(loads, np.float64),
        tile_pod=np.array(owners, np.int32),
        tile_movable=~np.isin(tiles, pinned),
        pod_capacity=np.array(capacities, np.float64),
        pod_accepts=~np.isin(pods, [*cordoned, *draining]),
        pod_evacuates=np.isin(pods, draining),
        pod_tiles_max=np.full(pods.size, tiles_max, np.int64),
        tiles_in_flight=in_flight,
    )


def owners_after(columns: PlanningInput, plan: Plan) -> list[int]:
    owners = columns.tile_pod.copy()
    owners[plan.tiles] = plan.targets
    return [int(owner) for owner in owners]


def carried_out(columns: PlanningInput, plan: Plan) -> PlanningInput:
    return replace(columns, tile_pod=np.array(owners_after(columns, plan), np.int32))


def pod_loads(columns: PlanningInput) -> list[float]:
    owned = columns.tile_pod != UNOWNED
    weights, pods = columns.tile_load[owned], columns.pod_capacity.size
    return [float(load) for load in np.bincount(columns.tile_pod[owned], weights=weights, minlength=pods)]


def settle(columns: PlanningInput, policy: BalancePolicy, rounds_max: int = 100) -> tuple[PlanningInput, Plan]:
    for _ in range(rounds_max):
        plan = plan_rebalance(columns, policy)
        if not plan.tiles.size:
            return columns, plan
        columns = carried_out(columns, plan)
    raise AssertionError(f"still moving after {rounds_max} rounds")
