"""Owns planning beside the event loop: what takes long is computed in a thread, while everything else goes on."""

import asyncio

from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.plans import PreparedPlan

IN_THREAD_TILES_MIN = 2_000
"""Below, a plan takes a few milliseconds, hardly more than handing it to a thread and back."""


async def planned(prepared: PreparedPlan) -> FleetPlan:
    """Compute a plan. The picture it was prepared on must hold still until this returns (see `FleetView.still`)."""
    if prepared.tiles < IN_THREAD_TILES_MIN:
        return prepared.named(prepared.compute())
    return prepared.named(await asyncio.to_thread(prepared.compute))
