"""Owns the queries: each translates its arguments, asks one operation, and translates the answer."""

from datetime import datetime

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.rebalancing import RebalancePlanInput, what_if_of
from subgraph.api.types.assignment import (
    PodAssignment,
    PodAssignmentConnection,
    assignment_page,
    load_assignments,
)
from subgraph.api.types.common import TILES_PAGE_SIZE_MAX, page_size, to_ms
from subgraph.api.types.fleet import Fleet, RebalancePlan, to_fleet, to_plan
from subgraph.api.types.pod import Pod, load_pods
from subgraph.api.types.session import Session, SessionConnection, session_page, to_session
from subgraph.api.types.tile import Tile, load_tiles
from subgraph.domain.errors import SessionManagerFailure
from subgraph.domain.ids import PodId, SessionId


@strawberry.input(description="Which session: by its id.")
class SessionRef:
    """A session reference."""

    id: strawberry.ID = strawberry.field(description="The session's id.")


@strawberry.type(description="What this session manager is and allows.")
class SessionManagerInfo:
    """About this session manager."""

    version: str = strawberry.field(description="The version of the software.")


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

    @strawberry.field(
        description=(
            "One term of ownership by its id, `{tileId}@{epoch}`, living or ended; null if there is none, or none that "
            "history still keeps."
        )
    )
    async def pod_assignment(self, info: Info, id: strawberry.ID) -> PodAssignment | None:
        """One term."""
        (found,) = await load_assignments(info, [str(id)])
        if isinstance(found, SessionManagerFailure):
            raise found
        return found

    @strawberry.field(
        description=(
            "Terms of ownership, living and ended, newest first: of a session of the caller's tenant, of a pod, or of "
            "both; given from `since` on and before `until`. Without a session they are those of all tenants, as the "
            "fleet is shared (scope fleet:read). A term shows about a second after it was given; ended ones are kept "
            "for a time that is a setting, 30 days by default. `first` is at most 1,000; `totalCount` is null."
        )
    )
    async def assignment_history(
        self,
        info: Info,
        session_id: strawberry.ID | None = None,
        pod_id: strawberry.ID | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        first: int = 50,
        after: str | None = None,
    ) -> PodAssignmentConnection:
        """Terms."""
        page = await info.context.services.history.page(
            info.context.caller,
            None if session_id is None else SessionId(str(session_id)),
            None if pod_id is None else PodId(str(pod_id)),
            None if since is None else to_ms(since),
            None if until is None else to_ms(until),
            page_size(first, TILES_PAGE_SIZE_MAX),
            after,
        )
        return assignment_page(page, after)

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
