"""Owns the mutations of the hierarchy of sessions."""

from collections.abc import Awaitable, Callable, Sequence

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.session import AssociateSessionsInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import SessionPayload
from subgraph.api.scopes import needs
from subgraph.api.types.session import to_session
from subgraph.domain.access import Caller, Scope
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session


@strawberry.type
class HierarchyMutations:
    """The hierarchy of sessions."""

    @strawberry.mutation(
        description=(
            "Add associates to a parent session; returns the parent. Cycles are refused; existing associates are "
            "ignored. Idempotent."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def associate_sessions(self, info: Info, input: AssociateSessionsInput) -> SessionPayload:
        """Associate sessions."""
        return await _changed(info, info.context.services.families.associate, input)

    @strawberry.mutation(description="Remove associates from a parent session; returns the parent. Idempotent.")
    @needs(Scope.SESSION_WRITE)
    async def dissociate_sessions(self, info: Info, input: AssociateSessionsInput) -> SessionPayload:
        """Dissociate sessions."""
        return await _changed(info, info.context.services.families.dissociate, input)


async def _changed(
    info: Info,
    change: Callable[[Caller, SessionId, Sequence[SessionId], int | None], Awaitable[Session]],
    input: AssociateSessionsInput,
) -> SessionPayload:
    async def act() -> SessionPayload:
        parent_id, associate_ids = SessionId(str(input.parent_id)), input.to_associate_ids()
        parent = await change(info.context.caller, parent_id, associate_ids, input.expected_revision)
        return SessionPayload(session=to_session(parent))

    return await told(SessionPayload, act)
