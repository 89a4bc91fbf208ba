"""Owns what a tile is made of in GraphQL: its cell and place, its load, and the pods that died of it."""

from datetime import datetime

import strawberry
from strawberry.federation.schema_directives import Key
from strawberry.federation.types import FieldSet

from subgraph.api.scalars import Long


@strawberry.federation.type(
    keys=[Key(fields=FieldSet("h3Index"), resolvable=False)],
    description="An H3 cell: where other subgraphs hang what they know of the place.",
)
class HexCell:
    """An H3 cell."""

    h3_index: strawberry.ID = strawberry.field(description="The cell's H3 index, as text.")


@strawberry.type(description="A place on Earth (WGS 84).")
class TileCoordinate:
    """A place."""

    lat: float = strawberry.field(description="Latitude in degrees, north positive.")
    lng: float = strawberry.field(description="Longitude in degrees, east positive.")


@strawberry.type(
    description=(
        "A tile's own work, whichever pod it is on: never the CPU of the pod. A missing report is not zero: the last "
        "one stands, and the tile turns STALE."
    )
)
class TileLoad:
    """A tile's load."""

    records_per_second: float = strawberry.field(description="Records a second, as last reported.")
    bytes_per_second: float = strawberry.field(description="Bytes a second, as last reported.")
    backlog: Long = strawberry.field(description="Records waiting, as last reported.")
    volume_bytes: Long = strawberry.field(description="Bytes held, as last reported.")
    smoothed: float = strawberry.field(description="The balanced metric, smoothed; 0 before the first report.")
    reported_at: datetime | None = strawberry.field(description="When the last report came; null before the first.")


@strawberry.type(description="A pod that died soon after it had taken a tile up.")
class TileLoss:
    """A loss."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    at: datetime = strawberry.field(description="When it was lost.")
