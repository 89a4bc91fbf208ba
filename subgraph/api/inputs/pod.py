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
    description="What a pod has done for a term.",
    values={
        AcknowledgedPhase.READY: "It is prepared to take the tile over.",
        AcknowledgedPhase.ACTIVE: "It has raised the epoch at every sink, and is at work.",
        AcknowledgedPhase.RELEASED: "It has stopped working on the tile.",
    },
)


@strawberry.input(description="A tile that a pod still works on.")
class HeldTileInput:
    """A held tile."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    epoch: Long = strawberry.field(description="The epoch it is held at.")


@strawberry.input(description="A pod's registration.")
class RegisterPodInput:
    """A registration."""

    id: strawberry.ID = strawberry.field(description="The pod's id; registering it again fences the former instance.")
    service: str = strawberry.field(description="What the pod does; it only describes.")
    capacity: float = strawberry.field(description="The load it can bear, in the balanced metric's unit.")
    max_tiles: int | None = strawberry.field(default=None, description="The most tiles it takes; null: no limit.")
    zone: str | None = strawberry.field(default=None, description="Where it runs.")
    labels: list[SessionDetailInput] | None = strawberry.field(default=None, description="Labels.")
    lease: Duration | None = strawberry.field(default=None, description="Lease, up to the fleet's maximum.")
    held: list[HeldTileInput] | None = strawberry.field(
        default=None,
        description="Tiles it still works on after it lost its lease; it keeps those nobody else was given.",
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


@strawberry.input(description="A pod's sign of life.")
class HeartbeatPodInput:
    """A heartbeat."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    lease_token: strawberry.ID = strawberry.field(description="The token its registration returned.")
    applied_version: Long | None = strawberry.field(
        default=None, description="The newest version of its assignments it has applied."
    )


@strawberry.input(description="What a pod measured of one tile.")
class TileLoadInput:
    """A load."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    epoch: Long = strawberry.field(description="The epoch it is owned at.")
    records_per_second: float = strawberry.field(description="Records processed a second.")
    bytes_per_second: float = strawberry.field(default=0.0, description="Bytes processed a second.")
    volume_bytes: Long = strawberry.field(default=Long(0), description="Bytes held.")
    backlog: Long = strawberry.field(default=Long(0), description="Records waiting.")


@strawberry.input(description="A pod's load report; it renews the lease too.")
class ReportTileLoadsInput:
    """A report."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    lease_token: strawberry.ID = strawberry.field(description="The token its registration returned.")
    loads: list[TileLoadInput] = strawberry.field(description="One entry a tile, at most 10,000.")

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


@strawberry.input(description="A pod's word that a term has reached a phase.")
class AcknowledgementInput:
    """An acknowledgement."""

    assignment_id: strawberry.ID = strawberry.field(description="The term: `{tileId}@{epoch}`.")
    phase: AcknowledgedPhase = strawberry.field(description="The phase it has reached.")


@strawberry.input(description="Acknowledgements of a pod.")
class AcknowledgeAssignmentsInput:
    """Acknowledgements."""

    pod_id: strawberry.ID = strawberry.field(description="The pod.")
    lease_token: strawberry.ID = strawberry.field(description="The token its registration returned.")
    acknowledgements: list[AcknowledgementInput] = strawberry.field(description="At most 10,000.")

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
