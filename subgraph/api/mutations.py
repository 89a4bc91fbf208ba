"""Owns the mutations: one input, a payload with errors. Expected failures are data; what is not expected is masked."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import strawberry

from subgraph.api.context import Info
from subgraph.api.errors import to_error
from subgraph.api.inputs.label import labels_of
from subgraph.api.inputs.pod import (
    AcknowledgeAssignmentsInput,
    HeartbeatPodInput,
    PodRefInput,
    RegisterPodInput,
    ReportTileLoadsInput,
    lease_of,
)
from subgraph.api.inputs.rebalancing import PauseRebalancingInput, RebalanceInput
from subgraph.api.inputs.session import CreateSessionInput, EndSessionInput, UpdateSessionInput
from subgraph.api.inputs.tile import (
    MergeTilesInput,
    PlaceTileInput,
    RegisterTilesInput,
    RequireTileLabelsInput,
    TileRefInput,
)
from subgraph.api.payloads import (
    AcknowledgeAssignmentsPayload,
    FleetPayload,
    HeartbeatPodPayload,
    PodAssignmentPayload,
    PodPayload,
    RebalancePayload,
    RegisterPodPayload,
    ReportTileLoadsPayload,
    SessionPayload,
    TilePayload,
    TilesPayload,
)
from subgraph.api.scalars import Long
from subgraph.api.types.assignment import to_assignment
from subgraph.api.types.fleet import to_fleet, to_plan
from subgraph.api.types.pod import load_pods
from subgraph.api.types.session import to_session
from subgraph.api.types.tile import load_tiles
from subgraph.domain.errors import SessionManagerFailure
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.operations.partition import Registration

P = TypeVar("P")


async def _told(payload: Callable[..., P], act: Callable[[], Awaitable[P]]) -> P:
    try:
        return await act()
    except SessionManagerFailure as failure:
        return payload(errors=[to_error(failure)])


async def _operated(info: Info, wanted: PodRefInput, operate: Callable[[PodId], Awaitable[None]]) -> PodPayload:
    async def act() -> PodPayload:
        await operate(PodId(str(wanted.pod_id)))
        return PodPayload(pod=load_pods(info, [str(wanted.pod_id)])[0])

    return await _told(PodPayload, act)


async def _ruled(info: Info, tile_id: TileId, ruling: Awaitable[None]) -> TilePayload:
    async def act() -> TilePayload:
        await ruling
        return TilePayload(tile=(await load_tiles(info, [tile_id]))[0])

    return await _told(TilePayload, act)


async def _covering(info: Info, done: Registration) -> TilesPayload:
    tiles = await load_tiles(info, done.tile_ids)
    return TilesPayload(tiles=[tile for tile in tiles if tile], registered=done.registered)


@strawberry.type(description="What can be done. Every mutation answers expected failures in `errors`.")
class Mutation:
    """The mutations."""

    @strawberry.mutation(description="Create an ACTIVE session, with tiles if a coverage is given.")
    async def create_session(self, info: Info, input: CreateSessionInput) -> SessionPayload:
        """Create a session."""

        async def act() -> SessionPayload:
            services, caller = info.context.services, info.context.caller
            coverage, wanted = input.coverage, input.to_new_session()
            if coverage is None:
                return SessionPayload(session=to_session(await services.sessions.create(caller, wanted)))
            cells, template = await coverage.to_cells(), coverage.to_template()
            # All that can be refused is, before there is a session.
            services.partition.check_template(template, wanted.required_labels)
            session = await services.sessions.create(caller, wanted)
            if cells:
                await services.partition.register(caller, session.id, cells, template)
            return SessionPayload(session=to_session(session))

        return await _told(SessionPayload, act)

    @strawberry.mutation(description="Change an ACTIVE session: what its tiles require of the pods' labels.")
    async def update_session(self, info: Info, input: UpdateSessionInput) -> SessionPayload:
        """Change a session."""

        async def act() -> SessionPayload:
            session = await info.context.services.label_rules.require_of_session(
                info.context.caller, SessionId(str(input.id)), input.to_required_labels(), input.expected_revision
            )
            return SessionPayload(session=to_session(session))

        return await _told(SessionPayload, act)

    @strawberry.mutation(
        description="End a session: its tiles are released, it takes no new work and stays readable. Idempotent."
    )
    async def end_session(self, info: Info, input: EndSessionInput) -> SessionPayload:
        """End a session."""

        async def act() -> SessionPayload:
            session = await info.context.services.sessions.end(
                info.context.caller,
                SessionId(str(input.id)),
                data_source=input.data_source,
                expected_revision=input.expected_revision,
            )
            return SessionPayload(session=to_session(session))

        return await _told(SessionPayload, act)

    @strawberry.mutation(
        description="Cover cells or a polygon with tiles. Idempotent and cheap: for records outside all tiles, too."
    )
    async def register_tiles(self, info: Info, input: RegisterTilesInput) -> TilesPayload:
        """Register tiles."""

        async def act() -> TilesPayload:
            done = await info.context.services.partition.register(
                info.context.caller,
                SessionId(str(input.session_id)),
                await input.coverage.to_cells(),
                input.coverage.to_template(),
            )
            return await _covering(info, done)

        return await _told(TilesPayload, act)

    @strawberry.mutation(
        description="Set the labels that tiles require of their own. Those on other pods move away, make-before-break."
    )
    async def require_tile_labels(self, info: Info, input: RequireTileLabelsInput) -> TilesPayload:
        """Require labels."""

        async def act() -> TilesPayload:
            tile_ids = [TileId(str(tile_id)) for tile_id in input.tile_ids]
            required = labels_of(input.required_labels, ("requiredLabels",))
            await info.context.services.label_rules.require_of_tiles(info.context.caller, tile_ids, required)
            return TilesPayload(tiles=[tile for tile in await load_tiles(info, tile_ids) if tile])

        return await _told(TilesPayload, act)

    @strawberry.mutation(description="Register a pod, or a new instance of one: the former instance is fenced.")
    async def register_pod(self, info: Info, input: RegisterPodInput) -> RegisterPodPayload:
        """Register a pod."""

        async def act() -> RegisterPodPayload:
            done = await info.context.services.pods.register(input.to_new_pod())
            return RegisterPodPayload(
                pod=load_pods(info, [str(input.id)])[0],
                lease_token=strawberry.ID(done.lease_token),
                version=Long(done.version),
                assignments=[to_assignment(change) for change in done.assignments],
            )

        return await _told(RegisterPodPayload, act)

    @strawberry.mutation(description="Renew a pod's lease.")
    async def heartbeat_pod(self, info: Info, input: HeartbeatPodInput) -> HeartbeatPodPayload:
        """Renew a lease."""

        async def act() -> HeartbeatPodPayload:
            version = await info.context.services.pods.heartbeat(lease_of(input), input.applied_version)
            return HeartbeatPodPayload(pod_id=str(input.pod_id), version=Long(version))

        return await _told(HeartbeatPodPayload, act)

    @strawberry.mutation(
        description="Report the loads of tiles; renews the lease too. Stale entries are refused one by one."
    )
    async def report_tile_loads(self, info: Info, input: ReportTileLoadsInput) -> ReportTileLoadsPayload:
        """Report loads."""

        async def act() -> ReportTileLoadsPayload:
            accepted, refused = await info.context.services.pods.report(lease_of(input), input.to_batch())
            return ReportTileLoadsPayload(accepted=accepted, errors=[to_error(failure) for failure in refused])

        return await _told(ReportTileLoadsPayload, act)

    @strawberry.mutation(
        description="Acknowledge that terms have reached a phase. Repeated and late ones change nothing."
    )
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

        return await _told(AcknowledgeAssignmentsPayload, act)

    @strawberry.mutation(description="Move a tile to a pod by hand, make-before-break; an unowned one at once.")
    async def move_tile(self, info: Info, input: PlaceTileInput) -> PodAssignmentPayload:
        """Move a tile."""

        async def act() -> PodAssignmentPayload:
            moves, caller = info.context.services.hand_moves, info.context.caller
            term = await moves.move(caller, TileId(str(input.tile_id)), PodId(str(input.pod_id)))
            return PodAssignmentPayload(assignment=to_assignment(term))

        return await _told(PodAssignmentPayload, act)

    @strawberry.mutation(
        description="Pin a tile to a pod: it is moved there, and stays while the pod is READY or CORDONED."
    )
    async def pin_tile(self, info: Info, input: PlaceTileInput) -> PodAssignmentPayload:
        """Pin a tile."""

        async def act() -> PodAssignmentPayload:
            rules, caller = info.context.services.tile_rules, info.context.caller
            term = await rules.pin(caller, TileId(str(input.tile_id)), PodId(str(input.pod_id)))
            return PodAssignmentPayload(assignment=to_assignment(term) if term else None)

        return await _told(PodAssignmentPayload, act)

    @strawberry.mutation(description="Let a tile be placed freely again. Idempotent.")
    async def unpin_tile(self, info: Info, input: TileRefInput) -> PodAssignmentPayload:
        """Unpin a tile."""

        async def act() -> PodAssignmentPayload:
            rules, caller = info.context.services.tile_rules, info.context.caller
            term = await rules.unpin(caller, TileId(str(input.tile_id)))
            return PodAssignmentPayload(assignment=to_assignment(term) if term else None)

        return await _told(PodAssignmentPayload, act)

    @strawberry.mutation(
        description="Keep a tile off a pod: it is never placed there, and moves away if it is there, make-before-break."
    )
    async def forbid_tile(self, info: Info, input: PlaceTileInput) -> TilePayload:
        """Forbid a tile on a pod."""
        tile_id, rules = TileId(str(input.tile_id)), info.context.services.tile_rules
        return await _ruled(info, tile_id, rules.forbid(info.context.caller, tile_id, PodId(str(input.pod_id))))

    @strawberry.mutation(description="Let a tile be on a pod again. Idempotent.")
    async def allow_tile(self, info: Info, input: PlaceTileInput) -> TilePayload:
        """Allow a tile on a pod."""
        tile_id, rules = TileId(str(input.tile_id)), info.context.services.tile_rules
        return await _ruled(info, tile_id, rules.allow(info.context.caller, tile_id, PodId(str(input.pod_id))))

    @strawberry.mutation(
        description="End a tile's quarantine and forget the losses that led to it: it is placed at once. Idempotent."
    )
    async def release_tile(self, info: Info, input: TileRefInput) -> TilePayload:
        """Release a tile."""
        tile_id, rules = TileId(str(input.tile_id)), info.context.services.tile_rules
        return await _ruled(info, tile_id, rules.release(info.context.caller, tile_id))

    @strawberry.mutation(
        description=(
            "Replace a tile by its H3 children: on its pod, with its capacity, its pin and what it requires of pods, "
            "each with a share of its load. Idempotent: a tile that has split answers what it became."
        )
    )
    async def split_tile(self, info: Info, input: TileRefInput) -> TilesPayload:
        """Split a tile."""

        async def act() -> TilesPayload:
            divisions, caller = info.context.services.hand_divisions, info.context.caller
            return await _covering(info, await divisions.split(caller, TileId(str(input.tile_id))))

        return await _told(TilesPayload, act)

    @strawberry.mutation(
        description=(
            "Replace all H3 children of a cell by its tile. They come from a split, are on one pod, and nothing is "
            "under way for any of them. Idempotent: a tile that is there is answered."
        )
    )
    async def merge_tiles(self, info: Info, input: MergeTilesInput) -> TilesPayload:
        """Merge tiles."""

        async def act() -> TilesPayload:
            divisions, caller = info.context.services.hand_divisions, info.context.caller
            done = await divisions.merge(caller, SessionId(str(input.session_id)), input.to_cell())
            return await _covering(info, done)

        return await _told(TilesPayload, act)

    @strawberry.mutation(description="Give a pod no new tiles; it keeps those it has.")
    async def cordon_pod(self, info: Info, input: PodRefInput) -> PodPayload:
        """Cordon a pod."""
        return await _operated(info, input, info.context.services.operator.cordon)

    @strawberry.mutation(description="Let a cordoned or draining pod have tiles again.")
    async def uncordon_pod(self, info: Info, input: PodRefInput) -> PodPayload:
        """Uncordon a pod."""
        return await _operated(info, input, info.context.services.operator.uncordon)

    @strawberry.mutation(
        description="Let rebalancing rest for a while; tiles without an owner are placed all the same."
    )
    async def pause_rebalancing(self, info: Info, input: PauseRebalancingInput) -> FleetPayload:
        """Pause rebalancing."""

        async def act() -> FleetPayload:
            services = info.context.services
            until_ms = input.until_ms(services.view.now_ms())
            await services.operator.pause(until_ms, info.context.caller.owner_id, input.reason)
            return FleetPayload(fleet=to_fleet(info))

        return await _told(FleetPayload, act)

    @strawberry.mutation(description="End a pause of rebalancing.")
    async def resume_rebalancing(self, info: Info) -> FleetPayload:
        """Resume rebalancing."""

        async def act() -> FleetPayload:
            await info.context.services.operator.resume()
            return FleetPayload(fleet=to_fleet(info))

        return await _told(FleetPayload, act)

    @strawberry.mutation(description="Move a pod's tiles away, make-before-break, and give it no new ones.")
    async def drain_pod(self, info: Info, input: PodRefInput) -> PodPayload:
        """Drain a pod."""
        return await _operated(info, input, info.context.services.operator.drain)

    @strawberry.mutation(
        description="A pod leaves, by its own word, after its drain; tiles it still has are placed elsewhere."
    )
    async def deregister_pod(self, info: Info, input: HeartbeatPodInput) -> PodPayload:
        """Deregister a pod."""

        async def act() -> PodPayload:
            await info.context.services.pods.deregister(lease_of(input))
            return PodPayload(pod=load_pods(info, [str(input.pod_id)])[0])

        return await _told(PodPayload, act)

    @strawberry.mutation(description="Apply a plan by its id, or plan and apply now.")
    async def rebalance(self, info: Info, input: RebalanceInput | None = None) -> RebalancePayload:
        """Rebalance."""

        async def act() -> RebalancePayload:
            wanted = input or RebalanceInput()
            plan_id = None if wanted.plan_id is None else str(wanted.plan_id)
            rebalancing = info.context.services.rebalancing
            plan = await rebalancing.apply(plan_id, wanted.max_churn, emergency=wanted.emergency)
            return RebalancePayload(plan=to_plan(plan))

        return await _told(RebalancePayload, act)
