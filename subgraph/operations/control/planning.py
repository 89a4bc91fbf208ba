"""Owns planning off the event loop: long computations run in a thread."""

import asyncio

from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.plans import PreparedPlan
from subgraph.domain.planning.plan import Plan
from subgraph.operations.control.free_memory import give_back_free_memory

IN_THREAD_TILES_MIN = 2_000
"""Below, a plan takes a few milliseconds, hardly more than handing it to a thread and back."""

GIVES_BACK_TILES_MIN = 100_000
"""What a plan needs besides the picture is half as much again. With so many tiles it is worth giving back after each:
the heap would keep it until the next one, in holes that hardly anything else fits in."""


async def planned(prepared: PreparedPlan) -> FleetPlan:
    """Compute a plan. The picture it was prepared on must hold still until this returns (see `FleetView.frozen`)."""
    if prepared.tiles < IN_THREAD_TILES_MIN:
        return prepared.named(prepared.compute())
    return prepared.named(await asyncio.to_thread(_computed, prepared))


def _computed(prepared: PreparedPlan) -> Plan:
    plan = prepared.compute()
    if prepared.tiles >= GIVES_BACK_TILES_MIN:
        give_back_free_memory()
    return plan
