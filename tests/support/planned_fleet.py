"""Owns a plan of a fleet in one go, with nobody beside who would have to wait."""

from typing import Any

from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy, prepare_plan


def plan_fleet(fleet: Fleet, plan_id: str, now_ms: int, policy: PlacementPolicy, **given: Any) -> FleetPlan:
    """Prepare, compute and name a plan; `given` is what `prepare_plan` takes besides."""
    prepared = prepare_plan(fleet, plan_id, now_ms, policy, **given)
    return prepared.named(prepared.compute())
