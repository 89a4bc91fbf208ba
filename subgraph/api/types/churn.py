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
        "Tiles given to a pod for one reason. INITIAL, POD_LOST and NOT_TAKEN_OVER are no choice: those tiles had no "
        "owner, or none at work. What was moved by choice is the sum of the other reasons. A split or merge stays on "
        "its pod and moves no load."
    )
)
class ChurnByReason:
    """Churn of one reason."""

    reason: AssignmentReason = strawberry.field(description="Why the tiles were given.")
    moves: int = strawberry.field(description="Terms given in the window that came into force; given up ones are none.")
    load_moved: float = strawberry.field(description="Sum of the tiles' smoothed loads when they were given.")


async def churn_over(info: Info, window: Duration) -> list[ChurnByReason]:
    """The churn of a window up to now, as GraphQL shows it."""
    churn = await info.context.services.churn.over(round(window.total_seconds() * 1_000))
    return [ChurnByReason(reason=one.reason, moves=one.moves, load_moved=one.load_moved) for one in churn]
