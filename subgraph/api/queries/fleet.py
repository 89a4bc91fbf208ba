"""Owns the queries of the fleet: its pods, and what rebalancing would do."""

from typing import Annotated

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.rebalancing import RebalancePlanInput, what_if_of
from subgraph.api.scopes import needs
from subgraph.api.types.fleet import Fleet, to_fleet
from subgraph.api.types.pod import Pod, load_pods
from subgraph.api.types.rebalance_plan import RebalancePlan, to_plan
from subgraph.domain.access import Scope


@strawberry.type
class FleetQueries:
    """The fleet."""

    @strawberry.field(description="One pod; null if there is none of that id.")
    @needs(Scope.FLEET_READ)
    def pod(
        self, info: Info, id: Annotated[strawberry.ID, strawberry.argument(description="The id it registered with.")]
    ) -> Pod | None:
        """One pod."""
        return load_pods(info, [str(id)])[0]

    @strawberry.field(description="The fleet: its pods, sums and control loop.")
    @needs(Scope.FLEET_READ)
    def fleet(self, info: Info) -> Fleet:
        """The fleet."""
        return to_fleet(info)

    @strawberry.field(description="A dry run: what rebalancing would do now, or with hypothetical pods or loads.")
    @needs(Scope.FLEET_READ)
    async def rebalance_plan(self, info: Info, input: RebalancePlanInput | None = None) -> RebalancePlan:
        """A dry run."""
        wanted = input or RebalancePlanInput()
        rebalancing = info.context.services.rebalancing
        plan = await rebalancing.plan(wanted.max_churn, what_if_of(wanted), emergency=wanted.emergency)
        return to_plan(plan)
