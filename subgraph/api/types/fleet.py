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


@strawberry.type(description="Whether the fleet is rebalanced, and if not, why not.")
class RebalancingState:
    """State of rebalancing."""

    paused: bool = strawberry.field(description="Whether an operator paused it; unowned tiles are placed all the same.")
    paused_until: datetime | None = strawberry.field(description="When it resumes automatically.")
    paused_by: strawberry.ID | None = strawberry.field(description="Who paused it.")
    reason: str | None = strawberry.field(description="Why it is paused.")
    last_skip: str | None = strawberry.field(
        description=(
            "Why the last round of planning moved nothing: PAUSED, NO_TILES, NO_PODS, NEW_LEADER, BALANCED, "
            "WITHIN_HYSTERESIS, BUDGET_EXHAUSTED or NOTHING_FITS; null if it moved, split or merged something."
        )
    )


@strawberry.type(description="How many pods the fleet should have, and why.")
class ScalingRecommendation:
    """Advice on the number of pods."""

    pods: int = strawberry.field(description="READY pods, of the present median size, that there should be.")
    delta: int = strawberry.field(description="How many that adds to those there are; negative: some could go.")
    limiting_dimension: str = strawberry.field(description="What calls for the most: LOAD, TILES, SURVIVAL or NONE.")
    reason: str = strawberry.field(description="The figures behind it.")


@strawberry.type(description="The pods and tiles of all tenants, as this process sees them now.")
class Fleet:
    """The fleet."""

    id: strawberry.ID = strawberry.field(description="The fleet's name.")
    version: Long = strawberry.field(description="Raised by every committed change: incarnation << 32 | counter.")
    lag_ms: float = strawberry.field(description="How far behind this process's picture may be, in milliseconds.")
    pod_count: int = strawberry.field(description="Pods known, of every status.")
    tile_count: int = strawberry.field(description="Tiles of all sessions.")
    unassigned_tiles: int = strawberry.field(description="Tiles without an owner.")
    quarantined_tiles: int = strawberry.field(
        description="Tiles that must wait without an owner for a while: pod after pod died soon after taking them up."
    )
    moves_in_flight: int = strawberry.field(description="Tiles in the middle of a handoff.")
    total_load: float = strawberry.field(description="Sum of the tiles' smoothed loads.")
    total_capacity: float = strawberry.field(description="Sum of the READY pods' capacities.")
    max_utilization: float = strawberry.field(description="The highest utilization of a READY pod.")
    mean_utilization: float = strawberry.field(description="What every READY pod would have under perfect balance.")
    imbalance: float = strawberry.field(description="Highest over mean utilization; 1 is perfect balance.")
    leader: str | None = strawberry.field(description="The process that runs the control loop; null while none does.")
    last_cycle_at: datetime | None = strawberry.field(description="When the last control cycle ended.")
    last_cycle_ms: float | None = strawberry.field(description="How long it took, in milliseconds.")
    rebalancing: RebalancingState = strawberry.field(description="Whether tiles are being moved.")
    unrecorded_changes: int = strawberry.field(
        description="Changes of tiles that history has not recorded yet: few, and more and more while SQL is away."
    )

    @strawberry.field(description="How many pods there should be, and why.")
    def scaling(self, info: Info) -> ScalingRecommendation:
        """Advice on the number of pods."""
        advice = advise(info.context.services.view.current())
        return ScalingRecommendation(
            pods=advice.pods, delta=advice.delta, limiting_dimension=advice.limiting.value, reason=advice.reason
        )

    @strawberry.field(
        description=(
            "Tiles given to pods in the window up to now, of all tenants, by reason; those that moved the most load "
            "first. `window` is at most PT24H; the last second may be missing. Null while SQL does not answer."
        )
    )
    async def churn(
        self,
        info: Info,
        window: Annotated[
            Duration, strawberry.argument(description="How far back from now, longer than nothing and at most PT24H.")
        ] = CHURN_WINDOW,
    ) -> list[ChurnByReason] | None:
        """Churn by reason."""
        return await churn_over(info, window)

    @strawberry.field(description="The pods, by id.")
    def pods(
        self,
        info: Info,
        first: PageSize = PAGE_SIZE_MAX,
        after: After = None,
        status: Annotated[
            list[PodStatus] | None, strawberry.argument(description="Only pods of one of these statuses; null: of all.")
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
