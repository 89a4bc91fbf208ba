"""Owns the queries: each translates its arguments, asks one operation, and translates the answer."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.rebalancing import RebalancePlanInput, what_if_of
from subgraph.api.types.assignment import PodAssignment, to_assignment
from subgraph.api.types.common import page_size
from subgraph.api.types.fleet import Fleet, RebalancePlan, to_fleet, to_plan
from subgraph.api.types.pod import Pod, load_pods
from subgraph.api.types.session import Session, SessionConnection, session_page, to_session
from subgraph.api.types.tile import Tile, load_tiles
from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import SessionId, parse_assignment_id
from subgraph.operations.readings import rows_of, term_of


@strawberry.input(description="Which session: by its id.")
class SessionRef:
    """A session reference."""

    id: strawberry.ID = strawberry.field(description="The session's id.")


@strawberry.type(description="What this session manager is and allows.")
class SessionManagerInfo:
    """About this session manager."""

    version: str = strawberry.field(description="The version of the software.")


async def load_assignments(info: Info, ids: list[str]) -> list[PodAssignment | None]:
    """Living terms by id, from memory; null for a malformed, ended or foreign one."""
    fleet, tenant = info.context.services.view.current(), info.context.caller.tenant_id
    found: list[PodAssignment | None] = []
    for text in ids:
        try:
            tile, epoch = parse_assignment_id(text)
        except InvalidInput:
            found.append(None)
            continue
        term = term_of(fleet, tile, epoch) if rows_of(fleet, tenant, [tile]) else None
        found.append(to_assignment(term) if term else None)
    return found


@strawberry.type(description="What can be asked.")
class Query:
    """The queries."""

    @strawberry.field(description="One session of the caller's tenant; null if there is none.")
    async def session(self, info: Info, ref: SessionRef) -> Session | None:
        """One session."""
        session = await info.context.session_loader.load(SessionId(str(ref.id)))
        return to_session(session) if session else None

    @strawberry.field(description="The tenant's live world: made on its first contact, and never absent.")
    async def main_session(self, info: Info) -> Session:
        """The main session."""
        return to_session(await info.context.services.sessions.main(info.context.caller))

    @strawberry.field(description="The ACTIVE sessions, of a data source or all, newest first.")
    async def current_sessions(
        self, info: Info, data_source: str | None = None, first: int = 20, after: str | None = None
    ) -> SessionConnection:
        """The active sessions."""
        sessions, caller = info.context.services.sessions, info.context.caller
        return session_page(await sessions.current(caller, data_source, page_size(first), after), after)

    @strawberry.field(description="One tile by its id, `{sessionId}:{h3Index}`; null if there is none.")
    async def tile(self, info: Info, id: strawberry.ID) -> Tile | None:
        """One tile."""
        return (await load_tiles(info, [str(id)]))[0]

    @strawberry.field(
        description=(
            "The tile a record at this place belongs to: the ancestor, in the session's coverage, of the place's cell "
            "at the finest H3 resolution. Null where the session has no coverage."
        )
    )
    async def tile_at(self, info: Info, session_id: strawberry.ID, lat: float, lng: float) -> Tile | None:
        """The tile of a place."""
        tile_id = info.context.services.partition.tile_at(SessionId(str(session_id)), lat, lng)
        return (await load_tiles(info, [tile_id]))[0] if tile_id else None

    @strawberry.field(description="One pod; null if there is none of that id.")
    def pod(self, info: Info, id: strawberry.ID) -> Pod | None:
        """One pod."""
        return load_pods(info, [str(id)])[0]

    @strawberry.field(description="One living term of ownership by its id, `{tileId}@{epoch}`; null if there is none.")
    async def pod_assignment(self, info: Info, id: strawberry.ID) -> PodAssignment | None:
        """One term."""
        return (await load_assignments(info, [str(id)]))[0]

    @strawberry.field(description="The fleet: its pods, sums and control loop.")
    def fleet(self, info: Info) -> Fleet:
        """The fleet."""
        return to_fleet(info)

    @strawberry.field(description="A dry run: what rebalancing would do now, or if pods or loads were others.")
    async def rebalance_plan(self, info: Info, input: RebalancePlanInput | None = None) -> RebalancePlan:
        """A dry run."""
        wanted = input or RebalancePlanInput()
        rebalancing = info.context.services.rebalancing
        plan = await rebalancing.plan(wanted.max_churn, what_if_of(wanted), emergency=wanted.emergency)
        return to_plan(plan)

    @strawberry.field(description="What this session manager is.")
    def session_manager(self, info: Info) -> SessionManagerInfo:
        """About this session manager."""
        return SessionManagerInfo(version=info.context.services.version)
