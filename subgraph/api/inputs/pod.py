"""Owns the inputs about pods: what they register with, report and acknowledge, and what is done to them."""

import strawberry

from subgraph.api.descriptions import show_enum
from subgraph.api.inputs.label import SessionDetailInput, labels_of
from subgraph.api.scalars import Duration, Long
from subgraph.domain.ids import AssignmentId, PodId, TileId, parse_assignment_id, parse_tile_id
from subgraph.domain.loads import LoadBatch
from subgraph.domain.ownership import AcknowledgedPhase
from subgraph.operations.fleet.fleet_writes import PodLease
from subgraph.operations.fleet.pod_registering import NewPod
from subgraph.operations.fleet.pods import Acknowledgement

show_enum(
    AcknowledgedPhase,
    name="AcknowledgedPhase",
    description="The phase that a pod acknowledges.",
    values={
        AcknowledgedPhase.READY: "It is ready to take the tile over.",
        AcknowledgedPhase.ACTIVE: "It has raised the epoch at every sink and works on the tile.",
        AcknowledgedPhase.RELEASED: "It has finished draining and no longer works on the tile.",
    },
)


@strawberry.input(description="A tile that a pod holds when it registers.")
class HeldTileInput:
    """A held tile."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    epoch: Long = strawberry.field(description="The epoch at which the pod holds it.")


@strawberry.input(description="Registration of a pod.")
class RegisterPodInput:
    """A registration."""

    id: strawberry.ID = strawberry.field(
        description="The pod's id, chosen by the pod. Registering it again fences the former instance."
    )
    service: str = strawberry.field(description="Name of the service the pod runs; informational.")
    capacity: float = strawberry.field(description="The load it can carry, in the unit of the balanced metric.")
    max_tiles: int | None = strawberry.field(default=None, description="Maximum number of tiles; null: unlimited.")
    zone: str | None = strawberry.field(default=None, description="Availability zone it runs in.")
    labels: list[SessionDetailInput] | None = strawberry.field(
        default=None, description="Labels, matched against required labels."
    )
    lease: Duration | None = strawberry.field(
        default=None, description="Length of the lease, at most the fleet's maximum; a setting if absent."
    )
    held: list[HeldTileInput] | None = strawberry.field(
        default=None,
        description=(
            "Tiles it still holds after its lease was lost. It keeps those that were not assigned to another pod."
        ),
    )

    def to_new_pod(self) -> NewPod:
        """The domain's value.

        Raises:
            InvalidInput: a label is given twice, or a held tile's id is malformed.
        """
        return NewPod(
            id=PodId(str(self.id)),
            service=self.service,
            capacity=self.capacity,
            lease_ms=None if self.lease is None else round(self.lease.total_seconds() * 1_000),
            tiles_max=self.max_tiles,
            zone=self.zone,
            labels=labels_of(self.labels, ("labels",)),
            held={
                _tile(tile.tile_id, ("held", str(i), "tileId")): tile.epoch for i, tile in enumerate(self.held or ())
            },
        )


@strawberry.input(description="A running instance of a pod, identified by its lease token.")
class HeartbeatPodInput:
    """A heartbeat."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    lease_token: strawberry.ID = strawberry.field(description="The lease token that registerPod returned.")
    applied_version: Long | None = strawberry.field(
        default=None,
        description=(
            "Version of the latest change to its assignments that it has reported as applied; null: none yet."
        ),
    )


@strawberry.input(description="A pod's measurements of one tile.")
class TileLoadInput:
    """A load."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    epoch: Long = strawberry.field(description="The epoch at which the pod owns it.")
    records_per_second: float = strawberry.field(description="Records processed per second.")
    bytes_per_second: float = strawberry.field(default=0.0, description="Bytes processed per second.")
    volume_bytes: Long = strawberry.field(default=Long(0), description="Bytes stored.")
    backlog: Long = strawberry.field(default=Long(0), description="Number of queued records.")


@strawberry.input(description="A pod's load report, which also renews its lease.")
class ReportTileLoadsInput:
    """A report."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    lease_token: strawberry.ID = strawberry.field(description="The lease token that registerPod returned.")
    loads: list[TileLoadInput] = strawberry.field(description="One entry per tile, at most 10,000.")

    def to_batch(self) -> LoadBatch:
        """The domain's columns."""
        return LoadBatch(
            PodId(str(self.pod_id)),
            [str(load.tile_id) for load in self.loads],
            [load.epoch for load in self.loads],
            [load.records_per_second for load in self.loads],
            [load.bytes_per_second for load in self.loads],
            [load.volume_bytes for load in self.loads],
            [load.backlog for load in self.loads],
        )


@strawberry.input(description="Acknowledgement that a term has reached a phase.")
class AcknowledgementInput:
    """An acknowledgement."""

    assignment_id: strawberry.ID = strawberry.field(description="The term's id: `{tileId}@{epoch}`.")
    phase: AcknowledgedPhase = strawberry.field(description="The phase that the term has reached.")


@strawberry.input(description="Acknowledgements by a pod that terms have reached a phase.")
class AcknowledgeAssignmentsInput:
    """Acknowledgements."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    lease_token: strawberry.ID = strawberry.field(description="The lease token that registerPod returned.")
    acknowledgements: list[AcknowledgementInput] = strawberry.field(description="The acknowledgements, at most 10,000.")

    def to_acknowledgements(self) -> list[Acknowledgement]:
        """The domain's values.

        Raises:
            InvalidInput: an id is malformed.
        """
        acknowledgements = []
        for index, ack in enumerate(self.acknowledgements):
            path = ("acknowledgements", str(index), "assignmentId")
            tile, epoch = parse_assignment_id(AssignmentId(str(ack.assignment_id)), path)
            acknowledgements.append(Acknowledgement(tile, epoch, ack.phase))
        return acknowledgements


@strawberry.input(description="A pod.")
class PodRefInput:
    """A pod."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")


def lease_of(wanted: HeartbeatPodInput | ReportTileLoadsInput | AcknowledgeAssignmentsInput) -> PodLease:
    """The proof of being the pod's instance that an input carries."""
    return PodLease(PodId(str(wanted.pod_id)), str(wanted.lease_token))


def _tile(text: str, path: tuple[str, ...]) -> TileId:
    parse_tile_id(text, path)
    return TileId(text)
