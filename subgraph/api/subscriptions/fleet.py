"""Owns the subscriptions of what the fleet does: a pod's desired state, tiles, routes, the fleet itself."""

from collections.abc import AsyncIterator, Sequence
from enum import Enum
from typing import Annotated

import strawberry

from subgraph.api.arguments import SessionIdArgument
from subgraph.api.context import Info
from subgraph.api.descriptions import show_enum
from subgraph.api.scalars import Long
from subgraph.api.scopes import needs
from subgraph.api.types.assignment import PodAssignment, to_assignment
from subgraph.api.types.fleet import Fleet, to_fleet
from subgraph.api.types.partition import tiles_of_session
from subgraph.api.types.route import TileRouteBatch, to_route_batch
from subgraph.api.types.tile import Tile, known_tiles
from subgraph.domain.access import Scope
from subgraph.domain.fleet.health import TileHealth
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.limits import check_chosen
from subgraph.operations.fleet.pod_assignments import PodAssignments


class PodAssignmentChangeKind(Enum):
    """Kinds of changes."""

    SNAPSHOT = "SNAPSHOT"
    CHANGES = "CHANGES"


show_enum(
    PodAssignmentChangeKind,
    name="PodAssignmentChangeKind",
    description="What a step of a pod's desired state contains.",
    values={
        PodAssignmentChangeKind.SNAPSHOT: (
            "All of the pod's terms. A term that is missing from it is no longer the pod's."
        ),
        PodAssignmentChangeKind.CHANGES: "The terms that are new or have changed.",
    },
)


@strawberry.type(description="A step of a pod's desired state: a snapshot, or a change that follows the step before.")
class PodAssignmentChange:
    """A step of a pod's desired state."""

    version: Long = strawberry.field(description="The fleet's version after this step.")
    previous_version: Long | None = strawberry.field(
        description=(
            "Version of this pod's previous step; null for a snapshot. If it is not the last one you applied, "
            "steps are missing: subscribe again for a snapshot."
        )
    )
    kind: PodAssignmentChangeKind = strawberry.field(
        description="Whether it contains all terms, or only those that changed."
    )
    assignments: list[PodAssignment] = strawberry.field(
        description="The terms. One that has ended is sent once, as RELEASED, LOST or ABORTED."
    )


@strawberry.type(description="Tiles that changed since the previous batch; sent at most once a control cycle.")
class TileChangeBatch:
    """A batch of changed tiles."""

    cycle: Long = strawberry.field(description="Number of the control cycle after which it was sent.")
    tiles: list[Tile] = strawberry.field(
        description="Tiles whose owner or health changed, or whose load changed by at least a tenth."
    )
    removed_ids: list[strawberry.ID] = strawberry.field(
        description="Ids of tiles that were removed or no longer match the filter."
    )


@strawberry.type
class FleetSubscriptions:
    """Pods, tiles, the fleet."""

    @strawberry.subscription(
        description=(
            "A pod's desired state: a snapshot, then changes in order. With `afterVersion` the snapshot is left out if "
            "nothing has changed for the pod since. It ends with LEASE_LOST when another instance registers; with the "
            "`leaseToken` of an instance, also when that one is lost or leaves."
        )
    )
    @needs(Scope.POD)
    async def pod_assignments(
        self,
        info: Info,
        pod_id: Annotated[strawberry.ID, strawberry.argument(description="The pod's id.")],
        after_version: Annotated[
            Long | None,
            strawberry.argument(
                description="The version it has applied: no snapshot if nothing changed since. Null: with a snapshot."
            ),
        ] = None,
        lease_token: Annotated[
            strawberry.ID | None,
            strawberry.argument(
                description="That of the instance that asks: the stream ends when this one does. Null: of any."
            ),
        ] = None,
    ) -> AsyncIterator[PodAssignmentChange]:
        """A pod's desired state."""
        assignments = PodAssignments(info.context.services.view)
        token = None if lease_token is None else str(lease_token)
        async for step in assignments.follow(PodId(str(pod_id)), token, after_version):
            kind = PodAssignmentChangeKind
            yield PodAssignmentChange(
                version=Long(step.version),
                previous_version=None if step.previous_version is None else Long(step.previous_version),
                kind=kind.SNAPSHOT if step.is_snapshot else kind.CHANGES,
                assignments=[to_assignment(change) for change in step.terms],
            )

    @strawberry.subscription(
        description="A session's tiles for maps: first all of them, then once a control cycle those that changed."
    )
    @needs(Scope.SESSION_READ)
    async def tile_changes(
        self,
        info: Info,
        session_id: SessionIdArgument,
        health: Annotated[
            list[TileHealth] | None,
            strawberry.argument(description="Only tiles of one of these healths; null: of all."),
        ] = None,
    ) -> AsyncIterator[TileChangeBatch]:
        """A session's tiles."""
        check_chosen("health", health, ("health",))
        services, session_key = info.context.services, SessionId(str(session_id))
        await services.sessions.get(info.context.caller, session_key)
        with services.tile_changes.batches.reader() as batches:
            cycle = services.view.current().last_cycle
            tiles = _of_health(tiles_of_session(info, session_key), health)
            yield TileChangeBatch(cycle=Long(cycle.number if cycle else 0), tiles=tiles, removed_ids=[])
            shown = {tile.reading.id for tile in tiles}
            async for batch in batches:
                changed = _of_session(batch.changed, session_key)
                tiles = _of_health([tile for tile in known_tiles(info, changed) if tile], health)
                matching = {tile.reading.id for tile in tiles}
                # What is gone, and what was shown and is not of these healths any more.
                left = shown & ((batch.changed - matching) | batch.removed)
                shown = (shown | matching) - left
                if tiles or left:
                    yield TileChangeBatch(
                        cycle=Long(batch.cycle), tiles=tiles, removed_ids=[strawberry.ID(tile) for tile in sorted(left)]
                    )

    @strawberry.subscription(
        description=(
            "For senders of records: which pod owns each tile of a session. First all tiles, in parts, then every "
            "change as it is committed. A batch comes at least every second, as a heartbeat; the stream ends with "
            "UNAVAILABLE when the server has lost touch with the fleet."
        )
    )
    @needs(Scope.SESSION_READ)
    async def tile_routes(self, info: Info, session_id: SessionIdArgument) -> AsyncIterator[TileRouteBatch]:
        """A session's routes."""
        services, session_key = info.context.services, SessionId(str(session_id))
        await services.sessions.get(info.context.caller, session_key)
        async for batch in services.tile_routes.follow(session_key):
            yield to_route_batch(batch, services.view)

    @strawberry.subscription(description="The fleet: now, and after every control cycle.")
    @needs(Scope.FLEET_READ)
    async def fleet_changes(self, info: Info) -> AsyncIterator[Fleet]:
        """The fleet."""
        with info.context.services.view.cycles.reader() as cycles:
            yield to_fleet(info)
            async for _ in cycles:
                yield to_fleet(info)


def _of_session(tile_ids: frozenset[TileId], session_id: SessionId) -> list[TileId]:
    return sorted(tile_id for tile_id in tile_ids if tile_id.startswith(f"{session_id}:"))


def _of_health(tiles: Sequence[Tile], health: list[TileHealth] | None) -> list[Tile]:
    return [tile for tile in tiles if health is None or tile.reading.health in health]
