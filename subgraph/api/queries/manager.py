"""Owns the query of what this session manager is and allows."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.scopes import needs


@strawberry.type(description="What this session manager is and allows.")
class SessionManagerInfo:
    """About this session manager."""

    version: str = strawberry.field(description="The version of the software.")


@strawberry.type
class ManagerQueries:
    """This session manager."""

    @strawberry.field(description="What this session manager is.")
    @needs()
    def session_manager(self, info: Info) -> SessionManagerInfo:
        """About this session manager."""
        return SessionManagerInfo(version=info.context.services.version)
