"""Owns Fleet in GraphQL: its totals, whether it is rebalanced, and how many pods it should have."""

from datetime import datetime
from typing import Annotated

import strawberry

from subgraph.api.arguments import PAGE_SIZE_MAX, After, PageSize
from subgraph.api.context import Info
from subgraph.api.scalars import Duration, Long
from subgraph.api.types.churn import CHURN_WINDOW, ChurnByReason, churn_over
from subgraph.api.types.common import (
    at_ms,
)
from subgraph.api.types.pod import PodConnection, pod_page
from subgraph.domain.fleet.scaling import advise
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.readings import sums


@strawberry.type(description="State of automatic rebalancing.")
class RebalancingState:
    """State of rebalancing."""

    paused: bool = strawberry.field(
        description="Whether an operator has paused it. Tiles without an owner are assigned nevertheless."
    )
    paused_until: datetime | None = strawberry.field(
        description="When it resumes automatically; null if it is not paused."
    )
    paused_by: strawberry.ID | None = strawberry.field(
        description="Id of the caller who paused it; null if it is not paused."
    )
    reason: str | None = strawberry.field(description="The reason given for the pause; null if it is not paused.")
    last_skip: str | None = strawberry.field(
        description=(
            "Why the last planning round changed nothing: PAUSED, NO_TILES, NO_PODS, NEW_LEADER, BALANCED, "
            "WITHIN_HYSTERESIS, BUDGET_EXHAUSTED or NOTHING_FITS; null if it moved, split or merged tiles."
        )
    )


@strawberry.type(description="Recommended number of pods, with the reason.")
class ScalingRecommendation:
    """Advice on the number of pods."""

    pods: int = strawberry.field(description="Recommended number of READY pods of the current median capacity.")
    delta: int = strawberry.field(
        description="Recommended minus current number of READY pods; negative if there are more than needed."
    )
    limiting_dimension: str = strawberry.field(
        description=(
            "The requirement that determines the number: LOAD, TILES, SURVIVAL (of the loss of one pod) or NONE."
        )
    )
    reason: str = strawberry.field(description="Human-readable reason, with the figures.")


@strawberry.type(description="The pods and tiles of all tenants, as currently known to this server process.")
class Fleet:
    """The fleet."""

    id: strawberry.ID = strawberry.field(description="The fleet's configured name.")
    version: Long = strawberry.field(
        description="Logical clock, raised by every committed change: incarnation << 32 | counter."
    )
    lag_ms: float = strawberry.field(description="Maximum age of this process's view of the fleet, in milliseconds.")
    pod_count: int = strawberry.field(description="Number of pods, of every status.")
    tile_count: int = strawberry.field(description="Number of tiles, of all sessions.")
    unassigned_tiles: int = strawberry.field(description="Number of tiles without an owner.")
    quarantined_tiles: int = strawberry.field(
        description=(
            "Number of tiles in quarantine: several pods in succession were lost soon after they took them over, so "
            "they stay without an owner for a while."
        )
    )
    moves_in_flight: int = strawberry.field(description="Number of tiles whose handoff is in progress.")
    total_load: float = strawberry.field(description="Sum of the tiles' smoothed loads.")
    total_capacity: float = strawberry.field(description="Sum of the capacities of READY pods.")
    max_utilization: float = strawberry.field(description="Highest utilization (load / capacity) of a READY pod.")
    mean_utilization: float = strawberry.field(
        description="Total load / total capacity: the utilization of every pod under perfect balance."
    )
    imbalance: float = strawberry.field(description="Highest / mean utilization; 1 is perfect balance.")
    leader: str | None = strawberry.field(
        description="Name of the server process that runs the control loop; null if none does."
    )
    last_cycle_at: datetime | None = strawberry.field(description="When the last control cycle ended.")
    last_cycle_ms: float | None = strawberry.field(description="Duration of the last control cycle, in milliseconds.")
    rebalancing: RebalancingState = strawberry.field(description="Whether rebalancing is enabled, and its last result.")
    unrecorded_changes: int = strawberry.field(
        description=(
            "Number of ownership changes not yet recorded in the history. It is small, and grows while SQL is "
            "unavailable."
        )
    )

    @strawberry.field(description="Recommended number of pods, with the reason.")
    def scaling(self, info: Info) -> ScalingRecommendation:
        """Advice on the number of pods."""
        advice = advise(info.context.services.view.current())
        return ScalingRecommendation(
            pods=advice.pods, delta=advice.delta, limiting_dimension=advice.limiting.value, reason=advice.reason
        )

    @strawberry.field(
        description=(
            "Assignments of all tenants within the window up to now, grouped by reason, in descending order of "
            "load moved. The last second may be missing. Null while SQL is unavailable."
        )
    )
    async def churn(
        self,
        info: Info,
        window: Annotated[
            Duration, strawberry.argument(description="Length of the window, above 0 and at most PT24H.")
        ] = CHURN_WINDOW,
    ) -> list[ChurnByReason] | None:
        """Churn by reason."""
        return await churn_over(info, window)

    @strawberry.field(description="The pods, ordered by id.")
    def pods(
        self,
        info: Info,
        first: PageSize = PAGE_SIZE_MAX,
        after: After = None,
        status: Annotated[
            list[PodStatus] | None,
            strawberry.argument(description="Only pods with one of these statuses; null: all."),
        ] = None,
    ) -> PodConnection:
        """The pods."""
        return pod_page(info, first, after, status)


def to_fleet(info: Info) -> Fleet:
    """The fleet as GraphQL shows it."""
    services = info.context.services
    fleet = services.view.current()
    totals, cycle, pause = sums(fleet, services.view.now_ms()), fleet.last_cycle, services.view.pause
    return Fleet(
        id=strawberry.ID(services.fleet_id),
        version=Long(fleet.version),
        lag_ms=services.view.lag_ms,
        pod_count=totals.pod_count,
        tile_count=totals.tile_count,
        unassigned_tiles=totals.unassigned_tiles,
        quarantined_tiles=totals.quarantined_tiles,
        moves_in_flight=totals.moves_in_flight,
        total_load=totals.total_load,
        total_capacity=totals.total_capacity,
        max_utilization=totals.max_utilization,
        mean_utilization=totals.mean_utilization,
        imbalance=totals.imbalance,
        leader=services.view.leader,
        last_cycle_at=at_ms(cycle.at_ms) if cycle else None,
        last_cycle_ms=cycle.duration_ms if cycle else None,
        rebalancing=RebalancingState(
            paused=pause is not None,
            paused_until=at_ms(pause.until_ms) if pause else None,
            paused_by=strawberry.ID(pause.by) if pause else None,
            reason=pause.reason if pause else None,
            last_skip=cycle.skip if cycle else None,
        ),
        unrecorded_changes=services.view.unrecorded_changes,
    )
