"""Owns the input of an import."""

import strawberry
from strawberry.scalars import JSON

from subgraph.api.inputs.once import IDEMPOTENCY_KEY
from subgraph.domain.naming import NameConflict


@strawberry.input(description="A document of exportSession to import, and the name of the new session.")
class ImportSessionInput:
    """An import."""

    document: JSON = strawberry.field(description="The result of exportSession, from this or another session manager.")
    display_name: str | None = strawberry.field(
        default=None, description="Name of the new session; by default the one in the document."
    )
    name_conflict: NameConflict = strawberry.field(
        default=NameConflict.REJECT,
        description=(
            "What to do if another session of the tenant has the name. An external id that is taken is refused "
            "with REJECT, and dropped otherwise."
        ),
    )
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY_KEY)
