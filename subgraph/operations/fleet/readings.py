"""Owns read models of tiles and pods: immutable snapshots, independent of the view, which keeps changing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subgraph.domain.access import Caller
from subgraph.domain.fleet.health import HEALTHS, TileHealth, capacities, health_codes, utilizations
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.quarantine import quarantined_rows
from subgraph.domain.fleet.terms import TermChange, living_terms
from subgraph.domain.ids import SessionId, TileId, parse_tile_id
from subgraph.domain.ownership import TileRecord


@dataclass(frozen=True, slots=True)
class TileReading:
    """A tile at one moment. `smoothed` and `reported_at_ms` are None while nothing was reported.

    `required`: the labels its pod must bear, its own and its session's. `quarantined_until_ms`: None where it need not
    wait for an owner.
    """

    id: TileId
    session_id: SessionId
    cell: int
    record: TileRecord
    health: TileHealth
    capacity: float
    utilization: float
    records_per_second: float
    bytes_per_second: float
    backlog: int
    volume_bytes: int
    smoothed: float | None
    reported_at_ms: int | None
    required: tuple[tuple[str, str], ...]
    quarantined_until_ms: int | None


@dataclass(frozen=True, slots=True)
class PodReading:
    """A pod at one moment."""

    pod: PodRow
    load: float
    tile_count: int


@dataclass(frozen=True, slots=True)
class FleetSums:
    """The fleet at one moment. Utilizations are over READY pods; `imbalance` is the highest over the mean."""

    pod_count: int
    tile_count: int
    unassigned_tiles: int
    quarantined_tiles: int
    moves_in_flight: int
    total_load: float
    total_capacity: float
    max_utilization: float
    mean_utilization: float
    imbalance: float


def read_rows(fleet: Fleet, rows: Sequence[int], now_ms: int, report_interval_ms: int) -> list[TileReading]:
    """Readings of the tiles of some rows, in their order."""
    if not rows:
        return []
    tiles, at = fleet.tiles, np.asarray(rows)
    waiting = set(quarantined_rows(fleet, now_ms))
    columns = zip(
        rows,
        health_codes(fleet, at, now_ms, report_interval_ms).tolist(),
        np.nan_to_num(capacities(fleet, at)).tolist(),
        utilizations(fleet, at).tolist(),
        tiles.cell[at].tolist(),
        tiles.records_per_second[at].tolist(),
        tiles.bytes_per_second[at].tolist(),
        tiles.backlog[at].tolist(),
        tiles.volume_bytes[at].tolist(),
        tiles.smoothed[at].tolist(),
        tiles.reported_at_ms[at].tolist(),
        strict=True,
    )
    return [
        TileReading(
            tiles.id_of(row),
            tiles.session_of(row),
            cell,
            tiles.record(row, fleet.owner_id(row)),
            HEALTHS[health],
            capacity,
            used,
            records,
            byte_rate,
            backlog,
            volume,
            None if math.isnan(smoothed) else smoothed,
            reported_at_ms or None,
            tuple(sorted(tiles.requirements.of(row))),
            tiles.quarantines[row] if row in waiting else None,
        )
        for row, health, capacity, used, cell, records, byte_rate, backlog, volume, smoothed, reported_at_ms in columns
    ]


def read_retired(fleet: Fleet, tile_id: TileId) -> TileReading | None:
    """A reading of a tile that is gone since others replaced it; None if none is remembered."""
    tile = fleet.retired.get(tile_id)
    if tile is None:
        return None
    session_id, cell = parse_tile_id(tile_id)
    return TileReading(
        id=tile_id,
        session_id=session_id,
        cell=cell,
        record=TileRecord(tile.tenant_id, retiring=True, retired_at_ms=tile.retired_at_ms),
        health=TileHealth.UNASSIGNED,
        capacity=0.0,
        utilization=0.0,
        records_per_second=0.0,
        bytes_per_second=0.0,
        backlog=0,
        volume_bytes=0,
        smoothed=None,
        reported_at_ms=None,
        required=(),
        quarantined_until_ms=None,
    )


def rows_of(fleet: Fleet, caller: Caller, tile_ids: Sequence[TileId]) -> dict[TileId, int]:
    """The rows of the tiles within the caller's reach; absent and foreign ones are simply not in the answer."""
    found = {tile_id: fleet.tiles.row(tile_id) for tile_id in tile_ids}
    return {tile: row for tile, row in found.items() if row is not None and caller.reaches(fleet.tiles.tenant_of(row))}


def term_of(fleet: Fleet, tile_id: TileId, epoch: int) -> TermChange | None:
    """A living term of a tile by its epoch, or None."""
    record = fleet.record(tile_id)
    living = living_terms(tile_id, record) if record else []
    return next((change for change in living if change.term.epoch == epoch), None)


def read_pods(fleet: Fleet, pods: Sequence[PodRow]) -> list[PodReading]:
    """Readings of some pods, in their order."""
    loads, counts = fleet.pod_loads(), fleet.pod_tile_counts()
    readings = []
    for pod in pods:
        row = fleet.pods.row(pod.id)
        readings.append(
            PodReading(pod, float(loads[row]) if row is not None else 0.0, int(counts[row]) if row is not None else 0)
        )
    return readings


def sums(fleet: Fleet, now_ms: int) -> FleetSums:
    """The fleet's totals at this moment."""
    ready = read_pods(fleet, fleet.ready_pods())
    used = [reading.load / reading.pod.record.capacity for reading in ready]
    total_capacity = sum(reading.pod.record.capacity for reading in ready)
    # The mean is weighted by capacity: it is what every pod would have if the load were spread perfectly.
    mean = sum(reading.load for reading in ready) / total_capacity if total_capacity else 0.0
    tiles = fleet.tiles
    existing = tiles.exists[: tiles.rows_used]
    unassigned = int(np.count_nonzero(existing & (tiles.owner[: tiles.rows_used] < 0))) - len(tiles.retiring)
    return FleetSums(
        pod_count=len(fleet.pods),
        tile_count=len(tiles) - len(tiles.retiring),
        unassigned_tiles=unassigned,
        quarantined_tiles=len(quarantined_rows(fleet, now_ms)),
        moves_in_flight=len(tiles.next) + len(tiles.draining),
        total_load=float(fleet.pod_loads().sum()),
        total_capacity=total_capacity,
        max_utilization=max(used, default=0.0),
        mean_utilization=mean,
        imbalance=max(used, default=0.0) / mean if mean else 1.0,
    )
