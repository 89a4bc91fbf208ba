"""Owns the query that exports a session."""

from typing import cast

import strawberry
from strawberry.scalars import JSON

from subgraph.api.arguments import SessionIdArgument
from subgraph.api.context import Info
from subgraph.api.scopes import needs
from subgraph.domain.access import Scope
from subgraph.domain.ids import SessionId
from subgraph.domain.session_document import CELLS_MAX, DOCUMENT_BYTES_MAX, EVENTS_MAX


@strawberry.type
class TransferQueries:
    """Export."""

    @strawberry.field(
        description=(
            "A session as one document, as it is at one moment: its fields, working memory, coverage and journal, and "
            f"the ids of its parents and associates. At most {CELLS_MAX:,} cells and {DOCUMENT_BYTES_MAX:,} bytes. Of "
            f"the journal it tells the newest events that fit, at most {EVENTS_MAX:,}, and counts the others in "
            "`eventsOmitted`; `events` of the session tells them all."
        )
    )
    @needs(Scope.SESSION_READ)
    async def export_session(self, info: Info, id: SessionIdArgument) -> JSON:
        """A session's document."""
        document = await info.context.services.transfer.export(info.context.caller, SessionId(str(id)))
        return cast(JSON, document)
