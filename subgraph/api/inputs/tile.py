"""Owns the inputs about tiles."""

import strawberry

from subgraph.api.inputs.coverage import TileCoverageInput


@strawberry.input(description="Tiles to register for a session.")
class RegisterTilesInput:
    """Tiles to register."""

    session_id: strawberry.ID = strawberry.field(description="The session.")
    coverage: TileCoverageInput = strawberry.field(description="What to cover.")


@strawberry.input(description="A tile, and the pod to put it on.")
class PlaceTileInput:
    """A tile to place."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    pod_id: strawberry.ID = strawberry.field(description="The pod.")


@strawberry.input(description="A tile.")
class TileRefInput:
    """A tile."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
