"""Owns the mutations of pods: their own calls, and what operators do with them."""

from collections.abc import Awaitable, Callable

import strawberry

from subgraph.api.context import Info
from subgraph.api.errors import to_error
from subgraph.api.inputs.pod import (
    AcknowledgeAssignmentsInput,
    HeartbeatPodInput,
    PodRefInput,
    RegisterPodInput,
    ReportTileLoadsInput,
    lease_of,
)
from subgraph.api.mutations.outcome import told
from subgraph.api.payloads import (
    AcknowledgeAssignmentsPayload,
    HeartbeatPodPayload,
    PodPayload,
    RegisterPodPayload,
    ReportTileLoadsPayload,
)
from subgraph.api.scalars import Long
from subgraph.api.scopes import needs
from subgraph.api.types.assignment import to_assignment
from subgraph.api.types.pod import load_pods
from subgraph.domain.access import Scope
from subgraph.domain.ids import PodId


@strawberry.type
class PodMutations:
    """Pods."""

    @strawberry.mutation(description="Register a pod, or a new instance of one: the former instance is fenced.")
    @needs(Scope.POD)
    async def register_pod(self, info: Info, input: RegisterPodInput) -> RegisterPodPayload:
        """Register a pod."""

        async def act() -> RegisterPodPayload:
            done = await info.context.services.pod_registering.register(input.to_new_pod())
            return RegisterPodPayload(
                pod=load_pods(info, [str(input.id)])[0],
                lease_token=strawberry.ID(done.lease_token),
                version=Long(done.version),
                assignments=[to_assignment(change) for change in done.assignments],
            )

        return await told(RegisterPodPayload, act)

    @strawberry.mutation(description="Renew a pod's lease.")
    @needs(Scope.POD)
    async def heartbeat_pod(self, info: Info, input: HeartbeatPodInput) -> HeartbeatPodPayload:
        """Renew a lease."""

        async def act() -> HeartbeatPodPayload:
            version = await info.context.services.pods.heartbeat(lease_of(input), input.applied_version)
            return HeartbeatPodPayload(pod_id=str(input.pod_id), version=Long(version))

        return await told(HeartbeatPodPayload, act)

    @strawberry.mutation(
        description=(
            "Report the loads of tiles, and renew the pod's lease. Entries with a stale epoch are refused individually."
        )
    )
    @needs(Scope.POD)
    async def report_tile_loads(self, info: Info, input: ReportTileLoadsInput) -> ReportTileLoadsPayload:
        """Report loads."""

        async def act() -> ReportTileLoadsPayload:
            accepted, refused = await info.context.services.pods.report(lease_of(input), input.to_batch())
            return ReportTileLoadsPayload(accepted=accepted, errors=[to_error(failure) for failure in refused])

        return await told(ReportTileLoadsPayload, act)

    @strawberry.mutation(
        description="Acknowledge that terms have reached a phase. Repeated and late acknowledgements have no effect."
    )
    @needs(Scope.POD)
    async def acknowledge_assignments(
        self, info: Info, input: AcknowledgeAssignmentsInput
    ) -> AcknowledgeAssignmentsPayload:
        """Acknowledge terms."""

        async def act() -> AcknowledgeAssignmentsPayload:
            terms, failures = await info.context.services.pods.acknowledge(lease_of(input), input.to_acknowledgements())
            return AcknowledgeAssignmentsPayload(
                assignments=[to_assignment(change) for change in terms],
                errors=[to_error(failure) for failure in failures],
            )

        return await told(AcknowledgeAssignmentsPayload, act)

    @strawberry.mutation(
        description="Deregister a pod, normally after its drain. Tiles it still owns are assigned to other pods."
    )
    @needs(Scope.POD)
    async def deregister_pod(self, info: Info, input: HeartbeatPodInput) -> PodPayload:
        """Deregister a pod."""

        async def act() -> PodPayload:
            await info.context.services.pods.deregister(lease_of(input))
            return PodPayload(pod=load_pods(info, [str(input.pod_id)])[0])

        return await told(PodPayload, act)

    @strawberry.mutation(description="Cordon a pod: it keeps its tiles and receives no new ones.")
    @needs(Scope.FLEET_OPERATE)
    async def cordon_pod(self, info: Info, input: PodRefInput) -> PodPayload:
        """Cordon a pod."""
        return await _operated(info, input, info.context.services.operator.cordon)

    @strawberry.mutation(description="Make a cordoned or draining pod READY again.")
    @needs(Scope.FLEET_OPERATE)
    async def uncordon_pod(self, info: Info, input: PodRefInput) -> PodPayload:
        """Uncordon a pod."""
        return await _operated(info, input, info.context.services.operator.uncordon)

    @strawberry.mutation(
        description="Drain a pod: its tiles are moved away, make-before-break, and it receives no new ones."
    )
    @needs(Scope.FLEET_OPERATE, Scope.POD)
    async def drain_pod(self, info: Info, input: PodRefInput) -> PodPayload:
        """Drain a pod."""
        return await _operated(info, input, info.context.services.operator.drain)


async def _operated(info: Info, wanted: PodRefInput, operate: Callable[[PodId], Awaitable[None]]) -> PodPayload:
    async def act() -> PodPayload:
        await operate(PodId(str(wanted.pod_id)))
        return PodPayload(pod=load_pods(info, [str(wanted.pod_id)])[0])

    return await told(PodPayload, act)
