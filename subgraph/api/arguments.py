"""Owns the arguments that many fields share: page size and cursor, a session's id, filters of events."""

from typing import Annotated

import strawberry

from subgraph.domain.event_types import SessionEventType
from subgraph.domain.limits import check_number

PAGE_SIZE = 20
EVENTS_PAGE_SIZE = 50
TILES_PAGE_SIZE = 100
PAGE_SIZE_MAX = 100
TILES_PAGE_SIZE_MAX = 1_000

PageSize = Annotated[
    int | None, strawberry.argument(description=f"Maximum number of items, 1 to {PAGE_SIZE_MAX}; null: the default.")
]
TilesPageSize = Annotated[
    int | None,
    strawberry.argument(description=f"Maximum number of items, 1 to {TILES_PAGE_SIZE_MAX:,}; null: the default."),
]
After = Annotated[
    str | None,
    strawberry.argument(
        description=(
            "Return the items after this cursor: that of an edge, or `endCursor` of a page. Null: from the beginning."
        )
    ),
]
SessionIdArgument = Annotated[strawberry.ID, strawberry.argument(description="The session's id.")]
EventTypes = Annotated[
    list[SessionEventType] | None, strawberry.argument(description="Only events of these types; null: all types.")
]


def page_size(first: int | None, default: int, most: int = PAGE_SIZE_MAX) -> int:
    """The page size asked for.

    Raises:
        InvalidInput: it is not between 1 and `most`.
    """
    if first is None:
        return default
    check_number("first", first, 1, most, ("first",))
    return first
