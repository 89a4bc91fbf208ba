"""Owns the mutation that erases an owner."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.erasure import EraseSessionOwnerInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import EraseSessionOwnerPayload
from subgraph.api.scopes import needs
from subgraph.domain.access import Scope
from subgraph.operations.transfer.owner_erasure import SESSIONS_PER_CALL_MAX


@strawberry.type
class ErasureMutations:
    """Erasure."""

    @strawberry.mutation(
        description=(
            "Erase an owner from the tenant permanently: its sessions are purged, with their journal, tiles, history "
            "and keys, and its id is removed from the events of other sessions. The main session's journal records "
            "the erasure (OWNER_ERASED), without the owner's id. Then every store is searched for remaining traces. "
            f"At most {SESSIONS_PER_CALL_MAX:,} sessions a call. A call that was interrupted can be repeated."
        )
    )
    @needs(Scope.TENANT_WRITE)
    async def erase_session_owner(self, info: Info, input: EraseSessionOwnerInput) -> EraseSessionOwnerPayload:
        """Erase an owner."""

        async def act() -> EraseSessionOwnerPayload:
            done = await info.context.services.owner_erasure.erase(
                info.context.caller, str(input.owner_id), dry_run=input.dry_run
            )
            return EraseSessionOwnerPayload(sessions=done.sessions, residues=done.residues)

        return await told(EraseSessionOwnerPayload, act)
