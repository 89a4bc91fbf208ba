"""Owns the input of the erasure of an owner."""

import strawberry


@strawberry.input(description="An owner to erase from the tenant.")
class EraseSessionOwnerInput:
    """An owner."""

    owner_id: strawberry.ID = strawberry.field(
        description="The owner whose sessions, and all traces of them, are to be erased."
    )
    dry_run: bool = strawberry.field(default=True, description="Only count what would be erased.")
