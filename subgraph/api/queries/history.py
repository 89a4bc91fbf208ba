"""Owns the queries of the past: terms of ownership, living and ended, and the audit log of sessions."""

from datetime import datetime
from typing import Annotated

import strawberry

from subgraph.api.arguments import EVENTS_PAGE_SIZE, TILES_PAGE_SIZE_MAX, After, PageSize, TilesPageSize, page_size
from subgraph.api.context import Info
from subgraph.api.inputs.session_list import SessionFilter
from subgraph.api.scopes import needs
from subgraph.api.types.assignment import PodAssignment, PodAssignmentConnection, assignment_page, load_assignments
from subgraph.api.types.common import to_ms
from subgraph.api.types.event import SessionEventConnection, event_page
from subgraph.api.types.tile import visible_sessions
from subgraph.domain.access import Scope
from subgraph.domain.errors import SessionManagerFailure
from subgraph.domain.ids import PodId, SessionId

NO_SESSION = SessionId("")
"""What may not be seen is asked for like what never was: the answer is the same in every respect."""


@strawberry.type
class HistoryQueries:
    """Terms."""

    @strawberry.field(
        description=(
            "One term of ownership by its id, `{tileId}@{epoch}`, living or ended; null if there is none, or none that "
            "history still keeps."
        )
    )
    @needs(Scope.SESSION_READ, Scope.FLEET_READ)
    async def pod_assignment(
        self,
        info: Info,
        id: Annotated[strawberry.ID, strawberry.argument(description="The term's id: `{tileId}@{epoch}`.")],
    ) -> PodAssignment | None:
        """One term."""
        (found,) = await load_assignments(info, [str(id)])
        if isinstance(found, SessionManagerFailure):
            raise found
        return found

    @strawberry.field(
        description=(
            "Terms of ownership, living and ended, newest first: of a session that the caller may see, of a pod, or of "
            "both; assigned from `since` on and before `until`. Without a session, those of all tenants, as the fleet "
            "is shared (scope fleet:read). A term appears about a second after its assignment; ended ones are kept "
            "for a time that is a setting, 30 days by default. `first` is at most 1,000; `totalCount` is null."
        )
    )
    @needs(Scope.SESSION_READ, Scope.FLEET_READ)
    async def assignment_history(
        self,
        info: Info,
        session_id: Annotated[
            strawberry.ID | None,
            strawberry.argument(description="Of this session's tiles; null: of all, which needs fleet:read."),
        ] = None,
        pod_id: Annotated[strawberry.ID | None, strawberry.argument(description="Of this pod; null: of all.")] = None,
        since: Annotated[
            datetime | None, strawberry.argument(description="Assigned then or later; null: from the first.")
        ] = None,
        until: Annotated[
            datetime | None, strawberry.argument(description="Assigned before then; null: up to now.")
        ] = None,
        first: TilesPageSize = EVENTS_PAGE_SIZE,
        after: After = None,
    ) -> PodAssignmentConnection:
        """Terms."""
        wanted = None if session_id is None else SessionId(str(session_id))
        if wanted is not None and wanted not in await visible_sessions(info, [wanted]):
            wanted = NO_SESSION
        page = await info.context.services.history.page(
            info.context.caller,
            wanted,
            None if pod_id is None else PodId(str(pod_id)),
            None if since is None else to_ms(since),
            None if until is None else to_ms(until),
            page_size(first, EVENTS_PAGE_SIZE, TILES_PAGE_SIZE_MAX),
            after,
        )
        return assignment_page(page, after)

    @strawberry.field(
        description=(
            "Events of all sessions of the tenant, or of the caller's own without tenant:read, in commit order. "
            "With a filter, of the sessions that match it now; without one also of deleted sessions, and what is left "
            "of purged ones. The cursors are those of the subscription `sessionEvents`. "
            "`first` is at most 100; `totalCount` is null."
        )
    )
    @needs(Scope.SESSION_READ)
    async def session_audit_log(
        self, info: Info, filter: SessionFilter | None = None, first: PageSize = EVENTS_PAGE_SIZE, after: After = None
    ) -> SessionEventConnection:
        """The journal."""
        events, listed = info.context.services.session_events, None if filter is None else filter.to_filter()
        return event_page(
            await events.audit_log(info.context.caller, listed, page_size(first, EVENTS_PAGE_SIZE), after), after
        )
