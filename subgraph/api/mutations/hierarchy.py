"""Owns the mutations of the hierarchy of sessions."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.session import AssociateSessionsInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import SessionPayload
from subgraph.api.scopes import needs
from subgraph.api.types.session import to_session
from subgraph.domain.access import Scope
from subgraph.domain.ids import SessionId


@strawberry.type
class HierarchyMutations:
    """The hierarchy of sessions."""

    @strawberry.mutation(
        description=(
            "Make sessions associates of a parent, which is answered. There are no cycles, and none comes twice. "
            "Idempotent."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def associate_sessions(self, info: Info, input: AssociateSessionsInput) -> SessionPayload:
        """Associate sessions."""

        async def act() -> SessionPayload:
            parent = await info.context.services.families.associate(
                info.context.caller,
                SessionId(str(input.parent_id)),
                input.to_associate_ids(),
                input.expected_revision,
            )
            return SessionPayload(session=to_session(parent))

        return await told(SessionPayload, act)

    @strawberry.mutation(
        description="Have sessions be associates of a parent no more; the parent is answered. Idempotent."
    )
    @needs(Scope.SESSION_WRITE)
    async def dissociate_sessions(self, info: Info, input: AssociateSessionsInput) -> SessionPayload:
        """Dissociate sessions."""

        async def act() -> SessionPayload:
            parent = await info.context.services.families.dissociate(
                info.context.caller,
                SessionId(str(input.parent_id)),
                input.to_associate_ids(),
                input.expected_revision,
            )
            return SessionPayload(session=to_session(parent))

        return await told(SessionPayload, act)
