"""Owns how a fleet of the benchmark is put to our planner, under the policy as shipped."""

from dataclasses import replace

import numpy as np

from placing.fleet import Fleet, Rows
from subgraph.domain.planning.columns import NO_LIMIT, PlanningInput
from subgraph.domain.planning.plan import Plan, plan_rebalance
from subgraph.domain.planning.policy import BalancePolicy

POLICY = BalancePolicy()
CYCLES = 10
"""As many as the shipped cool-down of 10 s lasts, at the shipped second a cycle."""


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
        neighbor_offsets=fleet.graph.starts if fleet.graph else None,
        neighbors=fleet.graph.neighbours if fleet.graph else None,
    )


def applied(fleet: Fleet, plan: Plan) -> Rows:
    """Return the assignment once the plan has been carried out."""
    owner = fleet.owner.copy()
    owner[plan.tiles] = plan.targets
    return owner


def ours(fleet: Fleet) -> Rows:
    """Plan a round under the shipped policy."""
    return applied(fleet, plan_rebalance(columns_of(fleet), POLICY))


def ours_in_cycles(fleet: Fleet) -> Rows:
    """Plan as the control loop does while a load stands: cycle after cycle until quiet, what has moved cooling down."""
    now = fleet
    for _ in range(CYCLES):
        plan = plan_rebalance(columns_of(now), POLICY)
        if not plan.tiles.size:
            break
        movable = now.movable.copy()
        movable[plan.tiles] = False
        now = replace(now, owner=applied(now, plan), movable=movable)
    return now.owner
