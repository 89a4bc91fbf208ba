"""Owns the mutations that say on which pod a tile is, by hand."""

from collections.abc import Awaitable

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.tile import PlaceTileInput, TileRefInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import PodAssignmentPayload, TilePayload
from subgraph.api.scopes import needs
from subgraph.api.types.assignment import to_assignment
from subgraph.api.types.tile import load_tiles
from subgraph.domain.access import Scope
from subgraph.domain.ids import PodId, TileId


@strawberry.type
class PlacementMutations:
    """Placement."""

    @strawberry.mutation(
        description="Move a tile to a pod, make-before-break. A tile without an owner is assigned at once."
    )
    @needs(Scope.FLEET_OPERATE)
    async def move_tile(self, info: Info, input: PlaceTileInput) -> PodAssignmentPayload:
        """Move a tile."""

        async def act() -> PodAssignmentPayload:
            moves, caller = info.context.services.manual_moves, info.context.caller
            term = await moves.move(caller, TileId(str(input.tile_id)), PodId(str(input.pod_id)))
            return PodAssignmentPayload(assignment=to_assignment(term))

        return await told(PodAssignmentPayload, act)

    @strawberry.mutation(
        description="Pin a tile to a pod: it is moved there, and stays while the pod is READY or CORDONED."
    )
    @needs(Scope.FLEET_OPERATE)
    async def pin_tile(self, info: Info, input: PlaceTileInput) -> PodAssignmentPayload:
        """Pin a tile."""

        async def act() -> PodAssignmentPayload:
            rules, caller = info.context.services.tile_rules, info.context.caller
            term = await rules.pin(caller, TileId(str(input.tile_id)), PodId(str(input.pod_id)))
            return PodAssignmentPayload(assignment=to_assignment(term) if term else None)

        return await told(PodAssignmentPayload, act)

    @strawberry.mutation(description="Remove a tile's pin, so that it can be assigned to any pod. Idempotent.")
    @needs(Scope.FLEET_OPERATE)
    async def unpin_tile(self, info: Info, input: TileRefInput) -> PodAssignmentPayload:
        """Unpin a tile."""

        async def act() -> PodAssignmentPayload:
            rules, caller = info.context.services.tile_rules, info.context.caller
            term = await rules.unpin(caller, TileId(str(input.tile_id)))
            return PodAssignmentPayload(assignment=to_assignment(term) if term else None)

        return await told(PodAssignmentPayload, act)

    @strawberry.mutation(
        description=(
            "Forbid a pod for a tile: the tile is never assigned to it, and is moved away if the pod owns it, "
            "make-before-break."
        )
    )
    @needs(Scope.FLEET_OPERATE)
    async def forbid_tile(self, info: Info, input: PlaceTileInput) -> TilePayload:
        """Forbid a tile on a pod."""
        tile_id, rules = TileId(str(input.tile_id)), info.context.services.tile_rules
        return await _ruled(info, tile_id, rules.forbid(info.context.caller, tile_id, PodId(str(input.pod_id))))

    @strawberry.mutation(description="Revoke forbidTile: the pod may own the tile again. Idempotent.")
    @needs(Scope.FLEET_OPERATE)
    async def allow_tile(self, info: Info, input: PlaceTileInput) -> TilePayload:
        """Allow a tile on a pod."""
        tile_id, rules = TileId(str(input.tile_id)), info.context.services.tile_rules
        return await _ruled(info, tile_id, rules.allow(info.context.caller, tile_id, PodId(str(input.pod_id))))

    @strawberry.mutation(
        description="End a tile's quarantine and clear the losses that led to it; it is assigned at once. Idempotent."
    )
    @needs(Scope.FLEET_OPERATE)
    async def release_tile(self, info: Info, input: TileRefInput) -> TilePayload:
        """Release a tile."""
        tile_id, rules = TileId(str(input.tile_id)), info.context.services.tile_rules
        return await _ruled(info, tile_id, rules.release(info.context.caller, tile_id))


async def _ruled(info: Info, tile_id: TileId, ruling: Awaitable[None]) -> TilePayload:
    async def act() -> TilePayload:
        await ruling
        return TilePayload(tile=(await load_tiles(info, [tile_id]))[0])

    return await told(TilePayload, act)
