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


@strawberry.type(description="Version, configuration and limits of this session manager.")
class SessionManagerInfo:
    """About this session manager."""

    version: str = strawberry.field(description="Version of the software.")
    enabled: bool = strawberry.field(
        description=(
            "Whether session management is enabled. If not, mutations and subscriptions fail with DISABLED, "
            "queries still work, and the server writes nothing about sessions: it creates no main sessions, emits"
            " no ticks, and expires or purges nothing."
        )
    )
    show_session_picker: bool = strawberry.field(description="Whether front ends should let users choose a session.")
    default_ttl: Duration = strawberry.field(description="Default time to live of a session.")
    default_max_history: int = strawberry.field(
        description="Default maximum number of messages in a session's working history."
    )
    retention: Duration = strawberry.field(
        description="How long after its end, expiry or deletion a session is purged."
    )
    limits: JSON = strawberry.field(
        description="Limits of sessions and of a single operation, as an object of names, with units, and values."
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
