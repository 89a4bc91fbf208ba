"""Owns how a fleet of the benchmark is put to our planner, under the policy as shipped."""

import math
from dataclasses import fields, replace

import numpy as np

from placing.fleet import Fleet, Rows
from subgraph.domain.planning.columns import NO_LIMIT, PlanningInput
from subgraph.domain.planning.plan import Plan, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy

POLICY = BalancePolicy()


def columns_of(fleet: Fleet) -> PlanningInput:
    """Return the planner's columns for this fleet."""
    pods = fleet.capacity.size
    return PlanningInput(
        tile_load=fleet.load,
        tile_pod=fleet.owner,
        tile_movable=fleet.movable,
        pod_capacity=fleet.capacity,
        pod_accepts=fleet.live,
        pod_evacuates=np.zeros(pods, np.bool_),
        pod_tiles_max=np.full(pods, NO_LIMIT),
    )


def knows_neighbours() -> bool:
    """Whether the planner can be told which tiles are neighbours."""
    return any("neighbour" in field.name for field in fields(PlanningInput))


def applied(fleet: Fleet, plan: Plan) -> Rows:
    """Return the assignment once the plan has been carried out."""
    owner = fleet.owner.copy()
    owner[plan.tiles] = plan.targets
    return owner


def ours(fleet: Fleet) -> Rows:
    """Plan a round under the shipped policy."""
    return applied(fleet, plan_rebalance(columns_of(fleet), POLICY))


def ours_without_load_budget(fleet: Fleet) -> Rows:
    """Plan a round with as much load to move as it takes: what the shipped budget of a round costs and saves."""
    policy = replace(POLICY, load_moved_ratio_max=math.inf, moves_ratio_max=1.0)
    return applied(fleet, plan_rebalance(columns_of(fleet), policy))
