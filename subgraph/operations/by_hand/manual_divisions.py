"""Owns manual splits and merges: each is a plan of one step, which the leader carries out like any other."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import uuid4

from subgraph.domain.access import Caller
from subgraph.domain.errors import NotFound, PlanStale, Unavailable
from subgraph.domain.fleet.divisibility import require_mergeable, require_splittable, successors_of
from subgraph.domain.fleet.fleet_plan import FleetPlan, plan_by_hand
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.planned_divisions import merge_of, split_of
from subgraph.domain.ids import SessionId, TenantId, TileId, parse_tile_id, tile_id
from subgraph.domain.sessions import require_active
from subgraph.domain.succession import children_of
from subgraph.operations.control.rebalancing import Rebalancing
from subgraph.operations.coverage.partition import Registration
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.sessions.sessions import Sessions

ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True)
class ManualDivisions:
    """Splits and merges on behalf of an operator: limits apply, load thresholds do not."""

    sessions: Sessions
    live: LiveFleet
    view: FleetView
    rebalancing: Rebalancing

    async def split(self, caller: Caller, tile: TileId) -> Registration:
        """Replace a tile by its H3 children, on the same pod. Idempotent: one that has split answers what it became.

        Raises:
            InvalidInput: the id is malformed.
            NotFound: the caller has no such tile.
            IllegalState: the session is not ACTIVE; or the tile is as fine as it may get, in the middle of something,
                or on a pod without room for its children.
            QuotaExceeded: the session would have too many tiles.
            Unavailable: nobody leads at the moment, or the tile kept changing.
        """
        session_id, cell = parse_tile_id(tile, ("tileId",))
        for _ in range(ATTEMPTS_MAX):
            fleet = self.view.current()
            tenant_id = _tenant_of(fleet, tile)
            if tenant_id is None or not caller.reaches(tenant_id):
                raise NotFound("Tile", tile, ("tileId",))
            await self._require_active(caller.operating_in(tenant_id), session_id, ("tileId",))
            if cell not in fleet.tiles.coverage(session_id):
                followers = successors_of(fleet, tile)
                if not followers:
                    raise NotFound("Tile", tile, ("tileId",))
                return Registration(tuple(followers), 0)
            require_splittable(fleet, tile, self.rebalancing.policy.resolution)
            plan = plan_by_hand(str(uuid4()), fleet.version, self.view.now_ms(), splits=(split_of(fleet, tile),))
            if await self._done(plan, children_of(tile)):
                return Registration(children_of(tile), len(children_of(tile)))
        raise Unavailable(f"tile {tile!r} kept changing; try again", retry_after_seconds=1.0)

    async def merge(self, caller: Caller, session_id: SessionId, parent: int) -> Registration:
        """Replace all children of a cell by the cell's tile, on their pod. Idempotent: one that is there is answered.

        Raises:
            NotFound: the caller has no such session, or it covers nothing of the cell.
            InvalidInput: the cell has no children.
            IllegalState: the session is not ACTIVE; or the children are not complete, on several pods, unlike each
                other or in the middle of something; or nothing as coarse as the cell was registered.
            Unavailable: nobody leads at the moment, or the tiles kept changing.
        """
        whole = tile_id(session_id, parent)
        for _ in range(ATTEMPTS_MAX):
            fleet = self.view.current()
            rows = fleet.tiles.rows_of_session(session_id)
            tenant_id = fleet.tiles.tenant_of(int(rows[0])) if rows.size else caller.tenant_id
            await self._require_active(caller.operating_in(tenant_id), session_id, ("sessionId",))
            if parent in fleet.tiles.coverage(session_id):
                return Registration((whole,), 0)
            require_mergeable(fleet, whole)
            plan = plan_by_hand(str(uuid4()), fleet.version, self.view.now_ms(), merges=(merge_of(fleet, whole),))
            if await self._done(plan, [whole]):
                return Registration((whole,), 1)
        raise Unavailable(f"the tiles inside {whole!r} kept changing; try again", retry_after_seconds=1.0)

    async def _done(self, plan: FleetPlan, successors: Sequence[TileId]) -> bool:
        """Have a plan carried out; whether these tiles are there then, or something changed at that very moment."""
        await self.live.keep_plan(plan)
        try:
            await self.rebalancing.apply(plan.id, None)
        except PlanStale:
            await self.view.observe()
            return False
        _, fleet = await self.view.observe()
        return all(fleet.tiles.row(one) is not None for one in successors)

    async def _require_active(self, caller: Caller, session_id: SessionId, path: tuple[str, ...]) -> None:
        found = await self.sessions.get_many(caller, [session_id])
        if session_id not in found:
            raise NotFound("Session", session_id, path)
        require_active(found[session_id], path)


def _tenant_of(fleet: Fleet, tile: TileId) -> TenantId | None:
    """Whose a tile is, also one that others have replaced; None if none is known."""
    row, remembered = fleet.tiles.row(tile), fleet.retired.get(tile)
    if row is not None:
        return fleet.tiles.tenant_of(row)
    return remembered.tenant_id if remembered is not None else None
