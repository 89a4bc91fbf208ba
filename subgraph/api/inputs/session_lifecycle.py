"""Owns the inputs of mutations that end, delete, extend and restore sessions."""

import strawberry

from subgraph.api.inputs.session import EXPECTED_REVISION, NAME_CONFLICT
from subgraph.api.scalars import Duration
from subgraph.domain.expiry import TTL_MAX
from subgraph.domain.naming import NameConflict


@strawberry.input(description="A session to extend. An expired one is revived.")
class ExtendSessionInput:
    """An extension."""

    id: strawberry.ID = strawberry.field(description="The session.")
    ttl: Duration = strawberry.field(description=f"New time to live, PT1S to P{TTL_MAX.days}D, starting now.")
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="A session to delete.")
class DeleteSessionInput:
    """A deletion."""

    id: strawberry.ID = strawberry.field(description="The session.")
    purge: bool = strawberry.field(
        default=False, description="Whether to purge it: remove it permanently, so that it cannot be restored."
    )
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="A deleted session to restore.")
class RestoreSessionInput:
    """A restoration."""

    id: strawberry.ID = strawberry.field(description="The session.")
    display_name: str | None = strawberry.field(
        default=None, description="A new name, in case the old one has been taken; by default the old name."
    )
    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)


@strawberry.input(description="A session to end.")
class EndSessionInput:
    """A session to end."""

    id: strawberry.ID = strawberry.field(description="The session.")
    data_source: str | None = strawberry.field(
        default=None, description="If given, it must equal the session's data source."
    )
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)
