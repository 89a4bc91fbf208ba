"""Owns the inputs of mutations, and their translation into the domain's values."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import strawberry
from strawberry.scalars import JSON

from subgraph.api.scalars import Duration, Long
from subgraph.domain.coverage import cells_of_polygon, parse_cells
from subgraph.domain.errors import InvalidInput
from subgraph.domain.fleet.columns import HypotheticalPod, WhatIf
from subgraph.domain.ids import AssignmentId, PodId, TileId, parse_assignment_id, parse_tile_id
from subgraph.domain.loads import LoadBatch
from subgraph.domain.ownership import AcknowledgedPhase
from subgraph.domain.sessions import NewSession
from subgraph.operations.live_fleet import PodLease
from subgraph.operations.pods import Acknowledgement, NewPod

COVERAGE_CELLS_MAX = 100_000
"""Cells that one call may register; larger coverages come in several calls."""

strawberry.enum(
    AcknowledgedPhase,
    name="AcknowledgedPhase",
    description="READY: prepared to take over. ACTIVE: epoch raised at every sink, at work. RELEASED: stopped.",
)


@strawberry.input(description="A label to set.")
class SessionDetailInput:
    """A label."""

    key: str = strawberry.field(description="The label's key.")
    value: str = strawberry.field(description="The label's value.")


@strawberry.input(description="What a session's tiles cover: cells, or a GeoJSON polygon and a resolution.")
class TileCoverageInput:
    """A coverage."""

    resolution: int | None = strawberry.field(default=None, description="H3 resolution (0 to 15) to fill `geoJson` at.")
    cells: list[strawberry.ID] | None = strawberry.field(default=None, description="H3 cells, as text.")
    geo_json: JSON | None = strawberry.field(
        default=None, description="A GeoJSON Polygon or MultiPolygon, or a Feature or FeatureCollection of them."
    )
    tile_capacity: float | None = strawberry.field(
        default=None, description="The load each tile may carry; by default half the median ready pod's capacity."
    )

    async def to_cells(self) -> list[int]:
        """The cells it names. Filling a winding polygon takes a while, so it is done beside the event loop.

        Raises:
            InvalidInput: not exactly one of `cells` and `geoJson` is given, or what is given is malformed or too large.
        """
        if (self.cells is None) == (self.geo_json is None):
            raise InvalidInput("give either cells or geoJson", ("coverage",))
        if self.cells is not None:
            return parse_cells(list(map(str, self.cells)), path=("coverage", "cells"), cells_max=COVERAGE_CELLS_MAX)
        return await asyncio.to_thread(
            cells_of_polygon, self.geo_json, self.resolution, cells_max=COVERAGE_CELLS_MAX, path=("coverage",)
        )


@strawberry.input(description="A session to create. Its key is made by the server.")
class CreateSessionInput:
    """A new session."""

    display_name: str | None = strawberry.field(
        default=None, description="Label, unique in the tenant; made up if absent."
    )
    data_source: str | None = strawberry.field(default=None, description="The data source it belongs to.")
    type: str = strawberry.field(default="Session", description="What kind of session it is.")
    version: int = strawberry.field(default=1, description="The creator's version number, from 1.")
    utc_offset: Duration = strawberry.field(
        default=Duration(timedelta()), description="Offset of its local time from UTC, within 18 hours."
    )
    details: list[SessionDetailInput] | None = strawberry.field(default=None, description="Small public labels.")
    metadata: JSON | None = strawberry.field(default=None, description="A JSON object of the creator's own.")
    coverage: TileCoverageInput | None = strawberry.field(default=None, description="Tiles to register with it.")

    def to_new_session(self) -> NewSession:
        """The domain's value.

        Raises:
            InvalidInput: a detail is given twice, or the metadata is no JSON object.
        """
        metadata: Any = {} if self.metadata is None else self.metadata
        if not isinstance(metadata, dict):
            raise InvalidInput("metadata must be a JSON object", ("metadata",))
        return NewSession(
            display_name=self.display_name,
            data_source=self.data_source,
            type=self.type,
            version=self.version,
            utc_offset=self.utc_offset,
            details=labels_of(self.details, ("details",)),
            metadata=metadata,
        )


@strawberry.input(description="A session to end.")
class EndSessionInput:
    """A session to end."""

    id: strawberry.ID = strawberry.field(description="The session.")
    data_source: str | None = strawberry.field(default=None, description="If given, it must be the session's.")
    expected_revision: int | None = strawberry.field(
        default=None, description="If given, the session must be at this revision."
    )


@strawberry.input(description="Tiles to register for a session.")
class RegisterTilesInput:
    """Tiles to register."""

    session_id: strawberry.ID = strawberry.field(description="The session.")
    coverage: TileCoverageInput = strawberry.field(description="What to cover.")


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


@strawberry.input(description="A tile, and the pod to put it on.")
class PlaceTileInput:
    """A tile to place."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")
    pod_id: strawberry.ID = strawberry.field(description="The pod.")


@strawberry.input(description="A tile.")
class TileRefInput:
    """A tile."""

    tile_id: strawberry.ID = strawberry.field(description="The tile.")


@strawberry.input(description="A READY pod to suppose in a dry run.")
class HypotheticalPodInput:
    """A pod that does not exist."""

    id: strawberry.ID = strawberry.field(description="A name for it; no pod may bear it.")
    capacity: float = strawberry.field(description="The load it could bear.")
    max_tiles: int | None = strawberry.field(default=None, description="The most tiles it would take; null: no limit.")


@strawberry.input(description="How to plan a dry run, and what to suppose in it.")
class RebalancePlanInput:
    """A dry run."""

    remove_pods: list[strawberry.ID] | None = strawberry.field(
        default=None, description="What if these pods were gone? Their tiles are placed elsewhere."
    )
    add_pods: list[HypotheticalPodInput] | None = strawberry.field(
        default=None, description="What if these pods were there?"
    )
    load_factor: float = strawberry.field(default=1.0, description="What if every load were multiplied by this?")
    max_churn: float | None = strawberry.field(
        default=None, description="The most load to move, as a share of all load (0 to 1); null: the policy's budget."
    )


@strawberry.input(description="How long rebalancing rests, and why.")
class PauseRebalancingInput:
    """A pause."""

    until: datetime | None = strawberry.field(default=None, description="When it goes on; or give `duration`.")
    duration: Duration | None = strawberry.field(
        default=None, description="For how long; or give `until`. At most P7D."
    )
    reason: str = strawberry.field(description="Why, for those who wonder; at most 500 characters.")

    def until_ms(self, now_ms: int) -> int:
        """When it goes on, in milliseconds of Redis time.

        Raises:
            InvalidInput: not exactly one of `until` and `duration` is given.
        """
        if (self.until is None) == (self.duration is None):
            raise InvalidInput("give either until or duration", ("until",))
        if self.duration is not None:
            return now_ms + round(self.duration.total_seconds() * 1_000)
        assert self.until is not None
        return round(self.until.timestamp() * 1_000)


@strawberry.input(description="Apply a plan by its id; or, without one, plan and apply now.")
class RebalanceInput:
    """A rebalance."""

    plan_id: strawberry.ID | None = strawberry.field(default=None, description="A plan of `rebalancePlan`.")
    max_churn: float | None = strawberry.field(
        default=None, description="Without a plan: the most load to move, as a share of all load (0 to 1)."
    )


def what_if_of(wanted: RebalancePlanInput) -> WhatIf:
    """What a dry run supposes, as the domain's value."""
    return WhatIf(
        removed=frozenset(PodId(str(pod_id)) for pod_id in wanted.remove_pods or ()),
        added=tuple(HypotheticalPod(PodId(str(pod.id)), pod.capacity, pod.max_tiles) for pod in wanted.add_pods or ()),
        load_factor=wanted.load_factor,
    )


def lease_of(wanted: HeartbeatPodInput | ReportTileLoadsInput | AcknowledgeAssignmentsInput) -> PodLease:
    """The proof of being the pod's instance that an input carries."""
    return PodLease(PodId(str(wanted.pod_id)), str(wanted.lease_token))


def labels_of(details: list[SessionDetailInput] | None, path: tuple[str, ...]) -> dict[str, str]:
    """Labels as a mapping.

    Raises:
        InvalidInput: a key is given twice.
    """
    labels: dict[str, str] = {}
    for index, detail in enumerate(details or ()):
        if detail.key in labels:
            raise InvalidInput(f"the key {detail.key[:64]!r} is given twice", (*path, str(index), "key"))
        labels[detail.key] = detail.value
    return labels


def _tile(text: str, path: tuple[str, ...]) -> TileId:
    parse_tile_id(text, path)
    return TileId(text)
