"""Owns Pod in GraphQL: a processing instance with a capacity and a lease."""

from collections.abc import Sequence
from datetime import datetime

import strawberry

from subgraph.api.arguments import PAGE_SIZE_MAX, TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX, After, TilesPageSize, page_size
from subgraph.api.context import Info
from subgraph.api.descriptions import show_enum
from subgraph.api.scalars import Long
from subgraph.api.types.assignment import PodAssignmentConnection, PodAssignmentEdge, to_assignment
from subgraph.api.types.common import (
    PageInfo,
    SessionDetail,
    at_ms,
    page_info,
    slice_after,
    to_details,
)
from subgraph.domain.fleet.terms import TermChange
from subgraph.domain.ids import PodId, assignment_id
from subgraph.domain.limits import check_chosen
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.readings import PodReading, read_pods

show_enum(
    PodStatus,
    name="PodStatus",
    description="Whether a pod may receive and keep tiles.",
    values={
        PodStatus.READY: "It keeps its tiles and may receive more.",
        PodStatus.CORDONED: "It keeps its tiles and receives no new ones.",
        PodStatus.DRAINING: "Its tiles are moved away, and it receives no new ones.",
        PodStatus.LOST: "Its lease expired; its tiles are assigned to other pods.",
        PodStatus.GONE: "It deregistered.",
    },
)


@strawberry.federation.type(
    keys=["id"], description="A data-processing instance. It owns tiles while its lease is valid."
)
class Pod:
    """A pod."""

    id: strawberry.ID = strawberry.field(
        description="Id chosen by the pod. Registering it again fences the former instance."
    )
    service: str = strawberry.field(description="Name of the service the pod runs; informational.")
    zone: str | None = strawberry.field(description="Availability zone it registered with; null if none.")
    labels: list[SessionDetail] = strawberry.field(
        description="Labels it registered with, matched against required labels."
    )
    status: PodStatus = strawberry.field(description="Whether the pod may receive and keep tiles.")
    capacity: float = strawberry.field(description="The load it can carry, in the unit of the balanced metric.")
    max_tiles: int | None = strawberry.field(description="Maximum number of tiles; null: unlimited.")
    load: float = strawberry.field(description="Sum of the smoothed loads of its tiles.")
    utilization: float = strawberry.field(description="Load / capacity.")
    tile_count: int = strawberry.field(description="Number of tiles it owns.")
    applied_version: Long | None = strawberry.field(
        description="Version of the latest change to its assignments that it has reported as applied; null: none yet."
    )
    shunned_until: datetime | None = strawberry.field(
        description=(
            "Until when it receives no tiles, because it did not take one over in time; null if it is not excluded."
        )
    )
    registered_at: datetime = strawberry.field(description="When this instance registered.")
    last_heartbeat_at: datetime = strawberry.field(description="When its lease was last renewed.")
    lease_expires_at: datetime = strawberry.field(description="When its lease expires unless it is renewed.")

    @strawberry.field(description="Its terms of ownership that have not ended.")
    def assignments(
        self, info: Info, first: TilesPageSize = TILES_PAGE_SIZE, after: After = None
    ) -> PodAssignmentConnection:
        """Its terms, by tile and epoch."""
        size = page_size(first, TILES_PAGE_SIZE, TILES_PAGE_SIZE_MAX)
        terms: dict[str, TermChange] = {
            assignment_id(change.tile_id, change.term.epoch): change
            for change in info.context.services.view.current().terms_of_pod(PodId(str(self.id)))
        }
        keys, has_next = slice_after(sorted(terms), size, after)
        edges = [PodAssignmentEdge(cursor=key, node=to_assignment(terms[key])) for key in keys]
        return PodAssignmentConnection(
            edges=edges, page_info=page_info(keys, has_next, after is not None), total_count=len(terms)
        )

    @classmethod
    async def resolve_references(cls, info: Info, keys: Sequence[dict[str, object]]) -> list["Pod | None"]:
        """Pods by `id`."""
        return load_pods(info, [str(key.get("id")) for key in keys])


@strawberry.type(description="A pod with its cursor (Relay edge).")
class PodEdge:
    """Relay's edge."""

    cursor: str = strawberry.field(description="Cursor of this edge: pass it as `after` to continue from here.")
    node: Pod = strawberry.field(description="The pod.")


@strawberry.type(description="A page of pods, ordered by id (Relay connection).")
class PodConnection:
    """Relay's connection."""

    edges: list[PodEdge] = strawberry.field(description="Edges of this page.")
    page_info: PageInfo = strawberry.field(description="Cursors of this page, and whether there are more.")
    total_count: int | None = strawberry.field(
        description="Number of items in the whole list, exact; null if it is not counted."
    )


def to_pod(reading: PodReading, now_ms: int) -> Pod:
    """A pod as GraphQL shows it."""
    pod, record = reading.pod, reading.pod.record
    return Pod(
        id=strawberry.ID(pod.id),
        service=record.service,
        zone=record.zone,
        labels=to_details(sorted(record.labels.items())),
        status=record.status,
        capacity=record.capacity,
        max_tiles=record.tiles_max,
        load=reading.load,
        utilization=reading.load / record.capacity if record.capacity else 0.0,
        tile_count=reading.tile_count,
        applied_version=None if pod.applied_version is None else Long(pod.applied_version),
        shunned_until=at_ms(record.shunned_until_ms) if record.shunned_until_ms > now_ms else None,
        registered_at=at_ms(record.registered_at_ms),
        last_heartbeat_at=at_ms(pod.last_heartbeat_at_ms),
        lease_expires_at=at_ms(max(pod.lease_expires_at_ms, record.registered_at_ms)),
    )


def load_pods(info: Info, ids: Sequence[str]) -> list[Pod | None]:
    """Pods by id, from memory; null for an absent one."""
    view = info.context.services.view
    fleet, now_ms = view.current(), view.now_ms()
    known = {str(pod.id): pod for pod in (fleet.pods.get(PodId(pod_id)) for pod_id in ids) if pod and pod.is_known}
    readings = dict(zip(known, read_pods(fleet, list(known.values())), strict=True))
    return [to_pod(readings[pod_id], now_ms) if pod_id in readings else None for pod_id in ids]


def pod_page(info: Info, first: int | None, after: str | None, statuses: Sequence[PodStatus] | None) -> PodConnection:
    """A page of the fleet's pods."""
    size = page_size(first, PAGE_SIZE_MAX)
    check_chosen("status", statuses, ("status",))
    pods = [
        pod
        for pod in info.context.services.view.current().pods
        if pod.is_known and (statuses is None or pod.record.status in statuses)
    ]
    keys, has_next = slice_after(sorted(pod.id for pod in pods), size, after)
    nodes = [pod for pod in load_pods(info, keys) if pod]
    return PodConnection(
        edges=[PodEdge(cursor=str(pod.id), node=pod) for pod in nodes],
        page_info=page_info(keys, has_next, after is not None),
        total_count=len(pods),
    )
