"""Owns the query of what this session manager is and allows."""

import strawberry
from strawberry.scalars import JSON

from subgraph.api.arguments import PAGE_SIZE_MAX, TILES_PAGE_SIZE_MAX
from subgraph.api.context import Info
from subgraph.api.guard import BODY_BYTES_MAX
from subgraph.api.limits.operation_documents import DOCUMENT_LIMITS
from subgraph.api.limits.operation_values import VALUE_LIMITS
from subgraph.api.scalars import Duration
from subgraph.api.scopes import needs
from subgraph.api.websocket import SOCKET_OPERATION_BYTES_MAX, SOCKET_OPERATIONS_MAX, WEBSOCKET_MESSAGE_BYTES_MAX
from subgraph.operations.fleet.fleet_writes import TILES_PER_COMMIT_MAX


@strawberry.type(description="What this session manager is and allows.")
class SessionManagerInfo:
    """About this session manager."""

    version: str = strawberry.field(description="The version of the software.")
    enabled: bool = strawberry.field(
        description=(
            "Whether anything can be changed or followed; if not, mutations answer DISABLED, reads go on, and nothing "
            "is written of sessions: no main for who comes first, no ticks, nothing that time does."
        )
    )
    show_session_picker: bool = strawberry.field(description="Whether front ends let users choose a session.")
    default_ttl: Duration = strawberry.field(description="How long a session lives whose creator says nothing.")
    default_max_history: int = strawberry.field(
        description="How many messages a session's working history keeps if its creator says nothing."
    )
    retention: Duration = strawberry.field(
        description="How long after its end, expiry or deletion a session is removed for good."
    )
    limits: JSON = strawberry.field(
        description="What may be asked of a session, and in one operation, at most, by name and unit."
    )


@strawberry.type
class ManagerQueries:
    """This session manager."""

    @strawberry.field(description="What this session manager is, and its limits.")
    @needs()
    def session_manager(self, info: Info) -> SessionManagerInfo:
        """About this session manager."""
        about = info.context.services.about
        return SessionManagerInfo(
            version=about.version,
            enabled=about.enabled,
            show_session_picker=about.shows_session_picker,
            default_ttl=Duration(about.defaults.ttl),
            default_max_history=about.defaults.max_history,
            retention=Duration(about.retention),
            limits=JSON(
                {
                    **about.limits,
                    **DOCUMENT_LIMITS,
                    **VALUE_LIMITS,
                    "operationObjects": about.operation_objects_max,
                    "pageEntries": PAGE_SIZE_MAX,
                    "pageTiles": TILES_PAGE_SIZE_MAX,
                    "tilesPerCall": TILES_PER_COMMIT_MAX,
                    "requestBytes": BODY_BYTES_MAX,
                    "socketMessageBytes": WEBSOCKET_MESSAGE_BYTES_MAX,
                    "socketOperations": SOCKET_OPERATIONS_MAX,
                    "socketOperationBytes": SOCKET_OPERATION_BYTES_MAX,
                }
            ),
        )
