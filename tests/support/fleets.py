"""Owns small fleets for tests: pods, terms and tiles as literals, and pictures made of them."""

from collections.abc import Mapping
from typing import Any

import h3.api.basic_int as h3

from subgraph.domain.fleet.changes import FleetSnapshot, Versioned
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.ids import PodId, SessionId, TenantId, TileId, parse_tile_id, tile_id
from subgraph.domain.load_report import LoadColumns, LoadReport, join_reports, pack_report
from subgraph.domain.loads import LoadBatch
from subgraph.domain.ownership import AssignmentReason, Term, TileRecord
from subgraph.domain.pods import PodRecord

TENANT = TenantId("tenant")
SESSION = SessionId("session")
A, B, C = PodId("a"), PodId("b"), PodId("c")
CELLS: list[int] = sorted(h3.grid_disk(h3.latlng_to_cell(40.0, -100.0, 4), 20))


def tile_ids(count: int, session: SessionId = SESSION) -> list[TileId]:
    """The first tiles of a session, always the same."""
    return [tile_id(session, cell) for cell in CELLS[:count]]


T1, T2, T3 = tile_ids(3)


def term(pod_id: PodId, epoch: int, **facts: Any) -> Term:
    """A term as it begins; a term in force is `ready`."""
    return Term(pod_id, epoch, facts.pop("reason", AssignmentReason.INITIAL), facts.pop("at", 0), **facts)


def held(pod_id: PodId, epoch: int, **facts: Any) -> Term:
    """A term in force and acknowledged."""
    return term(pod_id, epoch, **{"ready": True, "acknowledged_at_ms": 1, **facts})


def tile(**facts: Any) -> TileRecord:
    """A tile's record; the epoch of a given owner was in force."""
    owner = facts.get("owner")
    return TileRecord(TENANT, **{"last_epoch": owner.epoch if owner else 0, **facts})


def pod(**facts: Any) -> PodRecord:
    """A pod's record."""
    given = {"service": "test", "capacity": 100.0, "lease_ms": 3_000, "lease_token": "t", "registered_at_ms": 0}
    return PodRecord(**{**given, **facts})


def snapshot(
    tiles: Mapping[TileId, TileRecord] | None = None, pods: Mapping[PodId, PodRecord] | None = None, version: int = 10
) -> FleetSnapshot:
    """A snapshot in which every record is of the snapshot's version."""
    return FleetSnapshot(
        version,
        {tile_id: Versioned(version, record) for tile_id, record in (tiles or {}).items()},
        {pod_id: Versioned(version, record) for pod_id, record in (pods or {}).items()},
    )


def fleet_of(
    tiles: Mapping[TileId, TileRecord] | None = None,
    pods: Mapping[PodId, PodRecord] | None = None,
    *,
    version: int = 10,
    leases_end_at_ms: int = 1_000_000,
) -> Fleet:
    """A picture with these tiles and pods, every lease valid for long."""
    fleet = Fleet()
    fleet.adopt(snapshot(tiles, pods, version))
    fleet.renew(dict.fromkeys(pods or {}, leases_end_at_ms), {})
    return fleet


def report(pod_id: PodId, loads: Mapping[TileId, float], epoch: int = 1) -> LoadBatch:
    """A pod's report of records a second."""
    return LoadBatch(
        pod_id,
        list(loads),
        [epoch] * len(loads),
        list(loads.values()),
        [0.0] * len(loads),
        [0] * len(loads),
        [0] * len(loads),
    )


def packed(batch: LoadBatch) -> LoadReport:
    """A report as it travels."""
    sessions, cells = [], []
    for session_id, cell in map(parse_tile_id, batch.tile_ids):
        sessions.append(session_id)
        cells.append(cell)
    return pack_report(
        batch.pod_id,
        sessions,
        cells,
        batch.epochs,
        batch.records_per_second,
        batch.bytes_per_second,
        batch.volume_bytes,
        batch.backlog,
    )


def reported(at_ms: int, *batches: LoadBatch) -> LoadColumns:
    """Reports as they are taken over together."""
    columns, malformed = join_reports([(at_ms, packed(one)) for one in batches])
    assert not malformed
    return columns
