"""Owns the input of the erasure of an owner."""

import strawberry


@strawberry.input(description="An owner to erase from the tenant.")
class EraseSessionOwnerInput:
    """An owner."""

    owner_id: strawberry.ID = strawberry.field(description="Whose sessions, and every trace of them, are to be gone.")
    dry_run: bool = strawberry.field(default=True, description="Whether it is only counted what there is.")
