"""Owns the queries of tiles."""

from typing import Annotated

import strawberry

from subgraph.api.arguments import SessionIdArgument
from subgraph.api.context import Info
from subgraph.api.scopes import needs
from subgraph.api.types.tile import Tile, load_tiles
from subgraph.domain.access import Scope
from subgraph.domain.ids import SessionId


@strawberry.type
class TileQueries:
    """Tiles."""

    @strawberry.field(description="One tile by its id, `{sessionId}:{h3Index}`; null if there is none.")
    @needs(Scope.SESSION_READ, Scope.FLEET_READ)
    async def tile(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The tile's id: `{sessionId}:{h3Index}`.")],
    ) -> Tile | None:
        """One tile."""
        return (await load_tiles(info, [str(id)]))[0]

    @strawberry.field(
        description=(
            "The tile a record at this place belongs to: the ancestor, in the session's coverage, of the place's cell "
            "at the finest H3 resolution. Null where the session has no coverage."
        )
    )
    @needs(Scope.SESSION_READ, Scope.FLEET_READ)
    async def tile_at(
        self,
        info: Info,
        session_id: SessionIdArgument,
        lat: Annotated[float, strawberry.argument(description="Latitude (WGS 84), -90 to 90 degrees, north positive.")],
        lng: Annotated[
            float, strawberry.argument(description="Longitude (WGS 84), -180 to 180 degrees, east positive.")
        ],
    ) -> Tile | None:
        """The tile of a place."""
        tile_id = info.context.services.partition.tile_at(SessionId(str(session_id)), lat, lng)
        return (await load_tiles(info, [tile_id]))[0] if tile_id else None
