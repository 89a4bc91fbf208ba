"""Owns routes in GraphQL: who owns each tile, for senders of records."""

import strawberry

from subgraph.api.scalars import Long
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.tile_routes import RouteBatch


@strawberry.type(description="Where records of a tile are to go.")
class TileRoute:
    """A route."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    pod_id: strawberry.ID | None = strawberry.field(description="The pod that owns it; null while nobody does.")
    epoch: Long | None = strawberry.field(
        description="The epoch at which the pod owns it: send it along, so that a former owner can refuse; or null."
    )
    is_at_work: bool = strawberry.field(description="Whether the owner has acknowledged that it works on the tile.")


@strawberry.type(
    description=(
        "Routes that are new or other than before. One comes every second at least, also an empty one. What was told "
        "is to be believed until leaseMs - lagMs after the last complete one, and no longer: it may be wrong by then."
    )
)
class TileRouteBatch:
    """A batch of routes."""

    version: Long = strawberry.field(description="The fleet's version it is of.")
    begins: bool = strawberry.field(
        description="Whether this is the first part of all routes, which replaces all earlier ones."
    )
    is_complete: bool = strawberry.field(
        description="Whether nothing up to the version is missing; if not, the next parts follow at once."
    )
    routes: list[TileRoute] = strawberry.field(description="At most 5,000.")
    removed_ids: list[strawberry.ID] = strawberry.field(description="Tiles that are gone, or replaced by others.")
    lag_ms: float = strawberry.field(
        description="For how long, before this batch, changes may have gone unseen by the process that tells it."
    )
    lease_ms: int = strawberry.field(description="The longest lease that a pod of this fleet may have.")


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
