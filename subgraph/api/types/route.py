"""Owns routes in GraphQL: who owns each tile, for senders of records."""

import strawberry

from subgraph.api.scalars import Long
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.tile_routes import RouteBatch


@strawberry.type(description="Destination of a tile's records.")
class TileRoute:
    """A route."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    pod_id: strawberry.ID | None = strawberry.field(description="The pod that owns the tile; null if it has no owner.")
    epoch: Long | None = strawberry.field(
        description=(
            "The epoch at which the pod owns the tile, to be sent with each record so that a former owner can reject "
            "it; null if the tile has no owner."
        )
    )
    is_at_work: bool = strawberry.field(description="Whether the owner has acknowledged ACTIVE.")


@strawberry.type(
    description=(
        "Routes that are new or have changed. A batch, possibly empty, is sent at least every second. Routes are "
        "valid until leaseMs - lagMs after the last complete batch; after that they may be stale and must not be "
        "used."
    )
)
class TileRouteBatch:
    """A batch of routes."""

    version: Long = strawberry.field(description="The fleet's version of this batch.")
    begins: bool = strawberry.field(
        description="Whether this is the first part of a full snapshot, which replaces all earlier routes."
    )
    is_complete: bool = strawberry.field(
        description="Whether all changes up to `version` have been sent; if not, the next parts follow immediately."
    )
    routes: list[TileRoute] = strawberry.field(description="The routes, at most 5,000.")
    removed_ids: list[strawberry.ID] = strawberry.field(description="Ids of tiles that were removed or replaced.")
    lag_ms: float = strawberry.field(
        description=(
            "Maximum age of the sending process's view of the fleet, in milliseconds: later changes may be missing."
        )
    )
    lease_ms: int = strawberry.field(description="The maximum lease of a pod of this fleet, in milliseconds.")


def to_route_batch(batch: RouteBatch, view: FleetView) -> TileRouteBatch:
    """A batch as GraphQL shows it, at the moment when it is sent."""
    return TileRouteBatch(
        version=Long(batch.version),
        begins=batch.begins,
        is_complete=batch.is_complete,
        routes=[
            TileRoute(
                tile_id=strawberry.ID(route.tile_id),
                pod_id=None if route.pod_id is None else strawberry.ID(route.pod_id),
                epoch=Long(route.epoch) if route.epoch else None,
                is_at_work=route.is_at_work,
            )
            for route in batch.routes
        ],
        removed_ids=[strawberry.ID(tile_id) for tile_id in batch.removed],
        lag_ms=view.lag_ms,
        lease_ms=view.lease_ms_max,
    )
