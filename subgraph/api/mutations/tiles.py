"""Owns the mutations of tiles: coverage and its end, what each requires of pods, and dividing by hand."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.errors import to_error
from subgraph.api.inputs.label import labels_of
from subgraph.api.inputs.tile import (
    MergeTilesInput,
    RegisterTilesInput,
    RequireTileLabelsInput,
    TileRefInput,
    TileRefsInput,
)
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import TilesPayload
from subgraph.api.scopes import needs
from subgraph.api.types.tile import load_tiles
from subgraph.domain.access import Scope
from subgraph.domain.ids import SessionId, TileId
from subgraph.operations.coverage.partition import Registration


@strawberry.type
class TileMutations:
    """Tiles."""

    @strawberry.mutation(
        description=(
            "Register tiles that cover cells or an area. Idempotent, and cheap enough to call when a record lies "
            "outside all tiles."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def register_tiles(self, info: Info, input: RegisterTilesInput) -> TilesPayload:
        """Register tiles."""

        async def act() -> TilesPayload:
            done = await info.context.services.partition.register(
                info.context.caller,
                SessionId(str(input.session_id)),
                await input.coverage.to_cells(),
                input.coverage.to_template(),
            )
            return await _covering(info, done)

        return await told(TilesPayload, act, {"id": "sessionId"})

    @strawberry.mutation(
        description=(
            "Remove tiles from their sessions' coverage: their pods release them, and they get no new owner. A tile "
            "that was split is removed with its children; if a child is given, the others stay. Idempotent. "
            "Tiles are refused individually, with NOT_FOUND if the caller has no such session. `tiles` returns those "
            "that have not been released yet."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def unregister_tiles(self, info: Info, input: TileRefsInput) -> TilesPayload:
        """Unregister tiles."""

        async def act() -> TilesPayload:
            tile_ids = [TileId(str(tile_id)) for tile_id in input.tile_ids]
            refused = await info.context.services.unregistering.unregister(info.context.caller, tile_ids)
            tiles = [tile for tile in await load_tiles(info, tile_ids) if tile and tile.reading.record.draining]
            return TilesPayload(tiles=tiles, errors=[to_error(failure) for failure in refused])

        return await told(TilesPayload, act)

    @strawberry.mutation(
        description="Set the labels that tiles require of their own. Those on other pods move away, make-before-break."
    )
    @needs(Scope.SESSION_WRITE)
    async def require_tile_labels(self, info: Info, input: RequireTileLabelsInput) -> TilesPayload:
        """Require labels."""

        async def act() -> TilesPayload:
            tile_ids = [TileId(str(tile_id)) for tile_id in input.tile_ids]
            required = labels_of(input.required_labels, ("requiredLabels",))
            await info.context.services.label_rules.require_of_tiles(info.context.caller, tile_ids, required)
            return TilesPayload(tiles=[tile for tile in await load_tiles(info, tile_ids) if tile])

        return await told(TilesPayload, act)

    @strawberry.mutation(
        description=(
            "Replace a tile by its H3 children: on its pod, with its capacity, its pin and what it requires of pods, "
            "each with a share of its load. Idempotent: a tile that has split answers what it became."
        )
    )
    @needs(Scope.FLEET_OPERATE)
    async def split_tile(self, info: Info, input: TileRefInput) -> TilesPayload:
        """Split a tile."""

        async def act() -> TilesPayload:
            divisions, caller = info.context.services.manual_divisions, info.context.caller
            return await _covering(info, await divisions.split(caller, TileId(str(input.tile_id))))

        return await told(TilesPayload, act)

    @strawberry.mutation(
        description=(
            "Replace all H3 children of a cell by its tile. They come from a split, are on one pod, and nothing is "
            "under way for any of them. Idempotent: a tile that is there is answered."
        )
    )
    @needs(Scope.FLEET_OPERATE)
    async def merge_tiles(self, info: Info, input: MergeTilesInput) -> TilesPayload:
        """Merge tiles."""

        async def act() -> TilesPayload:
            divisions, caller = info.context.services.manual_divisions, info.context.caller
            done = await divisions.merge(caller, SessionId(str(input.session_id)), input.to_cell())
            return await _covering(info, done)

        return await told(TilesPayload, act)


async def _covering(info: Info, done: Registration) -> TilesPayload:
    tiles = await load_tiles(info, done.tile_ids)
    return TilesPayload(tiles=[tile for tile in tiles if tile], registered=done.registered)
