"""Owns the input of the erasure of an owner."""

import strawberry


@strawberry.input(description="An owner to erase from the tenant.")
class EraseSessionOwnerInput:
    """An owner."""

    owner_id: strawberry.ID = strawberry.field(
        description="Id of the owner whose sessions and all their traces are erased."
    )
    dry_run: bool = strawberry.field(default=True, description="Only count what would be erased.")
