"""Owns the input of an import."""

import strawberry
from strawberry.scalars import JSON

from subgraph.api.inputs.once import IDEMPOTENCY_KEY
from subgraph.domain.naming import NameConflict


@strawberry.input(description="A document of exportSession, and how the session that comes of it is to be called.")
class ImportSessionInput:
    """An import."""

    document: JSON = strawberry.field(description="What exportSession answered, here or elsewhere.")
    display_name: str | None = strawberry.field(default=None, description="Its name, if not that in the document.")
    name_conflict: NameConflict = strawberry.field(
        default=NameConflict.REJECT,
        description=(
            "What becomes of it if another session bears its name. An external id that is taken is refused with "
            "REJECT, and left out otherwise."
        ),
    )
    idempotency_key: str | None = strawberry.field(default=None, description=IDEMPOTENCY_KEY)
