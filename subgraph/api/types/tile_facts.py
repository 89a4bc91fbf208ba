"""Owns what a tile is made of in GraphQL: its cell and place, its load, and the pods that died of it."""

from datetime import datetime

import strawberry
from strawberry.federation.schema_directives import Key
from strawberry.federation.types import FieldSet

from subgraph.api.scalars import Long


@strawberry.federation.type(
    keys=[Key(fields=FieldSet("h3Index"), resolvable=False)],
    description="An H3 cell, as an entity that other subgraphs can extend.",
)
class HexCell:
    """An H3 cell."""

    h3_index: strawberry.ID = strawberry.field(description="The H3 index of the cell, as a hexadecimal string.")


@strawberry.type(description="A position on Earth (WGS 84).")
class TileCoordinate:
    """A place."""

    lat: float = strawberry.field(description="Latitude in degrees, north positive.")
    lng: float = strawberry.field(description="Longitude in degrees, east positive.")


@strawberry.type(
    description=(
        "The load of a tile, as measured by its owner for this tile alone (not the pod's CPU). If reports cease, "
        "the last values remain and the tile becomes STALE."
    )
)
class TileLoad:
    """A tile's load."""

    records_per_second: float = strawberry.field(description="Records processed per second, as last reported.")
    bytes_per_second: float = strawberry.field(description="Bytes processed per second, as last reported.")
    backlog: Long = strawberry.field(description="Number of queued records, as last reported.")
    volume_bytes: Long = strawberry.field(description="Bytes stored, as last reported.")
    smoothed: float = strawberry.field(
        description="The balanced metric, smoothed over time; 0 before the first report."
    )
    reported_at: datetime | None = strawberry.field(description="Time of the last report; null before the first.")


@strawberry.type(description="A pod that was lost soon after it took a tile over.")
class TileLoss:
    """A loss."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    at: datetime = strawberry.field(description="When the pod was lost.")
