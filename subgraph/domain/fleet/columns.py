"""Owns how the fleet's picture becomes the planner's columns, also with suppositions about pods and loads."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.groups import tile_groups
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.settle import at_fault
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.fleet.tile_table import REASONS
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.labels import Labels
from subgraph.domain.ownership import AssignmentReason, TileRecord
from subgraph.domain.planning.columns import NO_LIMIT, UNOWNED, Flags, PlanningInput, Rows
from subgraph.domain.pods import PodRecord, PodStatus

NEIGHBORS_FOUND_MAX = 10_000
"""Tiles whose neighbours one plan finds (some 50 ms); a large fleet that is new is taken in over several plans."""


SUCCESSORS = [REASONS.index(one) for one in (AssignmentReason.TILE_SPLIT, AssignmentReason.TILE_MERGED)]
"""In `owner_reason`: the tile has replaced others, and has not moved since."""


@dataclass(frozen=True, slots=True)
class HypotheticalPod:
    """A READY pod that does not exist, to see what it would change."""

    id: PodId
    capacity: float
    tiles_max: int | None = None
    zone: str | None = None
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What a dry run supposes: pods gone, pods added, all loads multiplied."""

    removed: frozenset[PodId] = frozenset()
    added: tuple[HypotheticalPod, ...] = ()
    load_factor: float = 1.0

    @property
    def is_real(self) -> bool:
        """Whether nothing is supposed: only then can a plan be carried out."""
        return self == WhatIf()


REALITY = WhatIf()


@dataclass(frozen=True, slots=True)
class FleetColumns:
    """The planner's input, and what its rows stand for."""

    input: PlanningInput
    tile_rows: npt.NDArray[np.intp]
    pods: Sequence[PodRow]


def fleet_columns(
    fleet: Fleet,
    settled: Mapping[TileId, TileRecord | None],
    lost: Collection[PodId],
    now_ms: int,
    cool_down_ms: int,
    what_if: WhatIf,
) -> FleetColumns:
    """The planner's columns of the fleet as it will be once `settled` is written and the `lost` pods are gone."""
    tiles = fleet.tiles
    used = tiles.rows_used
    owner = tiles.owner[:used].copy()
    planned = tiles.exists[:used].copy()
    draining = [fleet.pods.row_or_new(pod_id) for pod_id in fleet.pods.with_status(PodStatus.DRAINING)]
    # A tile rests between two moves, but not on a pod that wants to leave, nor after a split: its parts are to spread.
    rested = (now_ms - tiles.owner_since_ms[:used] >= cool_down_ms) | np.isin(owner, draining)
    rested |= np.isin(tiles.owner_reason[:used], SUCCESSORS)
    movable = tiles.owner_acknowledged_ms[:used] > 0
    waits = np.zeros(used, np.bool_)
    waits[[row for row, until_ms in tiles.quarantines.items() if now_ms < until_ms]] = True
    for row, term in tiles.next.items():
        owner[row] = fleet.pods.row_or_new(term.pod_id)
    movable[[*tiles.next, *tiles.draining]] = False
    planned[list(tiles.retiring)] = False
    for tile_id, record in settled.items():
        settled_row = tiles.row(tile_id)
        assert settled_row is not None
        movable[settled_row] = False
        if record is None or record.retiring:
            planned[settled_row] = False
            continue
        waits[settled_row] = record.suspicion is not None and record.suspicion.is_quarantined(now_ms)
        heir = record.next or record.owner
        owner[settled_row] = fleet.pods.row_or_new(heir.pod_id) if heir else NOBODY
    pods = [pod for pod in fleet.pods if pod.is_known and pod.record.status.is_live and pod.id not in lost]
    index_of_row = np.full(len(fleet.pods.rows) + 1, UNOWNED, np.int32)
    for index, pod in enumerate(pods):
        index_of_row[fleet.pods.row_or_new(pod.id)] = index
    pods += map(_hypothetical_row, what_if.added)
    # A pod whose record has not arrived yet may be live: its tiles are left alone until it has.
    unknown = [fleet.pods.row_or_new(pod.id) for pod in fleet.pods if not pod.is_known]
    planned &= ~np.isin(owner, unknown)
    tile_rows = np.flatnonzero(planned)
    tiles.adjacency.refresh(tiles, NEIGHBORS_FOUND_MAX)
    neighbor_offsets, neighbors = tiles.adjacency.edges(tiles, tile_rows)
    tile_pod = index_of_row[owner[tile_rows]]  # NOBODY reads the last entry, which is UNOWNED
    tile_pin = _pins(fleet, pods, index_of_row)[tile_rows] if tiles.pins else None
    tile_group, group_allows = tile_groups(tiles, tile_rows, pods) or (None, None)
    # Nor does it rest where it may not be.
    rested = rested[tile_rows] | _astray(tile_pod, tile_pin, tile_group, group_allows)
    status = [pod.record.status for pod in pods]
    is_ready = np.array([one is PodStatus.READY for one in status], np.bool_)
    slow = at_fault(fleet, settled, lost)
    receives = np.array([pod.record.receives_tiles(now_ms) and pod.id not in slow for pod in pods], np.bool_)
    limits = [pod.record.tiles_max for pod in pods]
    return FleetColumns(
        PlanningInput(
            tile_load=tiles.smoothed[tile_rows] * what_if.load_factor,
            tile_pod=tile_pod,
            tile_movable=movable[tile_rows] & rested,
            tile_cools=movable[tile_rows] & ~rested,
            tile_in_handoff=~movable[tile_rows],
            tile_waits=waits[tile_rows],
            pod_capacity=np.array([pod.record.capacity for pod in pods], np.float64),
            # Where all pods are at fault, it is none's: tiles without an owner go to some pod all the same.
            pod_accepts=receives if receives.any() else is_ready,
            pod_evacuates=np.array([one is PodStatus.DRAINING for one in status], np.bool_),
            pod_tiles_max=np.array([NO_LIMIT if limit is None else limit for limit in limits], np.int64),
            tiles_in_flight=len(tiles.next) + len(tiles.draining),
            tile_group=tile_group,
            group_allows=group_allows,
            tile_pin=tile_pin,
            neighbor_offsets=neighbor_offsets,
            neighbors=neighbors,
        ),
        tile_rows,
        pods,
    )


def _pins(fleet: Fleet, pods: Sequence[PodRow], index_of_row: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    # A pin holds while its pod may keep tiles: that of a lost or draining pod must not leave the tile without an owner.
    keeping = {pod.id for pod in pods if pod.record.status.keeps_tiles}
    pins = np.full(fleet.tiles.rows_used, UNOWNED, np.int32)
    for row, pod_id in fleet.tiles.pins.items():
        if pod_id in keeping:
            pins[row] = index_of_row[fleet.pods.row_or_new(pod_id)]
    return pins


def _astray(tile_pod: Rows, tile_pin: Rows | None, tile_group: Rows | None, group_allows: Flags | None) -> Flags:
    owned = tile_pod != UNOWNED
    astray = np.zeros(tile_pod.size, np.bool_)
    if tile_group is not None and group_allows is not None and group_allows.size:
        astray = owned & ~group_allows[tile_group, tile_pod]
    if tile_pin is not None:
        # Only the pin counts where there is one.
        astray = np.where(tile_pin != UNOWNED, owned & (tile_pod != tile_pin), astray)
    return astray


def _hypothetical_row(pod: HypotheticalPod) -> PodRow:
    record = PodRecord(
        service="",
        capacity=pod.capacity,
        lease_ms=0,
        lease_token="",
        registered_at_ms=0,
        tiles_max=pod.tiles_max,
        zone=pod.zone,
        labels=pod.labels,
    )
    return PodRow(pod.id, record, changed_at=0)
