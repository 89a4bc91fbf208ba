"""Owns ChurnByReason in GraphQL: how many tiles were given to pods, why, and with how much load."""

from datetime import timedelta

import strawberry

from subgraph.api.context import Info
from subgraph.api.scalars import Duration
from subgraph.domain.ownership import AssignmentReason

CHURN_WINDOW = Duration(timedelta(hours=1))
"""The window of whoever asks for none."""


@strawberry.type(
    description=(
        "Assignments made for one reason. INITIAL, POD_LOST and NOT_TAKEN_OVER are forced: the tiles had no "
        "working owner. The sum of the other reasons is what was moved voluntarily. Splits and merges stay on "
        "their pod and move no load."
    )
)
class ChurnByReason:
    """Churn of one reason."""

    reason: AssignmentReason = strawberry.field(description="Why the tiles were assigned.")
    moves: int = strawberry.field(
        description="Number of assignments in the window that came into force; aborted ones do not count."
    )
    load_moved: float = strawberry.field(description="Sum of the tiles' smoothed loads when they were assigned.")


async def churn_over(info: Info, window: Duration) -> list[ChurnByReason]:
    """The churn of a window up to now, as GraphQL shows it."""
    churn = await info.context.services.churn.over(round(window.total_seconds() * 1_000))
    return [ChurnByReason(reason=one.reason, moves=one.moves, load_moved=one.load_moved) for one in churn]
