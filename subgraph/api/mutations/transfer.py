"""Owns the mutation that imports a session."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.once import once_of
from subgraph.api.inputs.transfer import ImportSessionInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import SessionPayload
from subgraph.api.scopes import needs
from subgraph.api.types.session import to_session
from subgraph.domain.access import Scope


@strawberry.type
class TransferMutations:
    """Import."""

    @strawberry.mutation(
        description=(
            "A new ACTIVE session of the caller's from a document of exportSession: its own id, times and journal, and "
            "everything else as it was, with tiles for the same cells. Errors name the place in the document."
        )
    )
    @needs(Scope.SESSION_WRITE)
    async def import_session(self, info: Info, input: ImportSessionInput) -> SessionPayload:
        """Import a session."""

        async def act() -> SessionPayload:
            session = await info.context.services.transfer.bring_in(
                info.context.caller, input.document, input.display_name, input.name_conflict, once_of(input)
            )
            return SessionPayload(session=to_session(session))

        return await told(SessionPayload, act)
