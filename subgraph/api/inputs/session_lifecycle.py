"""Owns the inputs of mutations that end, delete, extend and restore sessions."""

import strawberry

from subgraph.api.inputs.session import EXPECTED_REVISION, NAME_CONFLICT
from subgraph.api.scalars import Duration
from subgraph.domain.expiry import TTL_MAX
from subgraph.domain.naming import NameConflict


@strawberry.input(description="A session to extend; one that has expired is revived.")
class ExtendSessionInput:
    """An extension."""

    id: strawberry.ID = strawberry.field(description="The session.")
    ttl: Duration = strawberry.field(
        description=f"It expires so long from now, PT1S to {TTL_MAX.days:,} days; this is its TTL from now on."
    )
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="A session to delete.")
class DeleteSessionInput:
    """A deletion."""

    id: strawberry.ID = strawberry.field(description="The session.")
    purge: bool = strawberry.field(default=False, description="Whether it is removed for good, and cannot be restored.")
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)


@strawberry.input(description="A deleted session to bring back.")
class RestoreSessionInput:
    """A restoration."""

    id: strawberry.ID = strawberry.field(description="The session.")
    display_name: str | None = strawberry.field(
        default=None, description="Another name for it, where its own is taken by now."
    )
    name_conflict: NameConflict = strawberry.field(default=NameConflict.REJECT, description=NAME_CONFLICT)


@strawberry.input(description="A session to end.")
class EndSessionInput:
    """A session to end."""

    id: strawberry.ID = strawberry.field(description="The session.")
    data_source: str | None = strawberry.field(default=None, description="If given, it must be the session's.")
    expected_revision: int | None = strawberry.field(default=None, description=EXPECTED_REVISION)
