"""Owns the mutations of the fleet as a whole: rebalancing, and its pause."""

import strawberry

from subgraph.api.context import Info
from subgraph.api.inputs.once import once_of
from subgraph.api.inputs.rebalancing import PauseRebalancingInput, RebalanceInput
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import FleetPayload, RebalancePayload
from subgraph.api.scopes import needs
from subgraph.api.types.fleet import to_fleet
from subgraph.api.types.rebalance_plan import to_plan
from subgraph.domain.access import Scope


@strawberry.type
class FleetMutations:
    """The fleet."""

    @strawberry.mutation(
        description="Pause rebalancing for a limited time. Tiles without an owner are assigned nevertheless."
    )
    @needs(Scope.FLEET_OPERATE)
    async def pause_rebalancing(self, info: Info, input: PauseRebalancingInput) -> FleetPayload:
        """Pause rebalancing."""

        async def act() -> FleetPayload:
            services = info.context.services
            until_ms = input.until_ms(services.view.now_ms())
            await services.operator.pause(until_ms, info.context.caller.owner_id, input.reason)
            return FleetPayload(fleet=to_fleet(info))

        return await told(FleetPayload, act)

    @strawberry.mutation(description="Resume rebalancing before its pause ends.")
    @needs(Scope.FLEET_OPERATE)
    async def resume_rebalancing(self, info: Info) -> FleetPayload:
        """Resume rebalancing."""

        async def act() -> FleetPayload:
            await info.context.services.operator.resume()
            return FleetPayload(fleet=to_fleet(info))

        return await told(FleetPayload, act)

    @strawberry.mutation(description="Apply a plan by its id, or plan and apply now.")
    @needs(Scope.FLEET_OPERATE)
    async def rebalance(self, info: Info, input: RebalanceInput | None = None) -> RebalancePayload:
        """Rebalance."""

        async def act() -> RebalancePayload:
            wanted = input or RebalanceInput()
            plan_id = None if wanted.plan_id is None else str(wanted.plan_id)
            services = info.context.services
            key = services.idempotency.key(info.context.caller, "rebalance", once_of(wanted))
            plan = await services.rebalancing.apply(plan_id, wanted.max_churn, emergency=wanted.emergency, key=key)
            return RebalancePayload(plan=to_plan(plan))

        return await told(RebalancePayload, act)
