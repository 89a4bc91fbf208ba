"""Owns which tiles are quarantined, because pod after pod dies soon after taking them up, and which are forgiven.

A pod that dies takes innocent tiles along: all that it had taken up a short time before are suspect once. They go to
many pods, so only a tile whose owners keep dying is soon suspect more often than the others. Should a whole rack keep
dying, the bound on tiles in quarantine holds, and the worst suspects come first, also in place of lesser ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import numpy as np

from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.suspicion import QuarantinePolicy, Suspicion, is_due, quarantined, spared

FORGIVEN_MAX = 1_000
"""Tiles that one cycle forgives: after a large loss there may be many, and nobody waits for it."""

Settled = Mapping[TileId, TileRecord | None]


@dataclass(frozen=True, slots=True)
class Imposed:
    """Tiles that are quarantined now, with their records, and those released because these are worse suspects.

    `spared`: how many more the losses call for, beyond the bound.
    """

    records: Mapping[TileId, TileRecord]
    displaced: Mapping[TileId, TileRecord] = field(default_factory=dict)
    spared: int = 0


def with_quarantines(
    fleet: Fleet, settled: Settled, now_ms: int, policy: QuarantinePolicy, *, forgives: bool
) -> tuple[Mapping[TileId, TileRecord | None], Imposed]:
    """What this cycle writes, with the quarantines that the losses so far call for; and with who is forgiven."""
    imposed = impose(fleet, settled, now_ms, policy)
    forgiven = forgive(fleet, settled, now_ms, policy) if forgives and fleet.tiles.suspicions else {}
    return {**settled, **imposed.records, **imposed.displaced, **forgiven}, imposed


def impose(fleet: Fleet, settled: Settled, now_ms: int, policy: QuarantinePolicy) -> Imposed:
    """The quarantines that the losses so far call for, of tiles that have no owner once `settled` is written."""
    records = _unowned_suspects(fleet, settled)
    suspects = {tile_id: record.suspicion for tile_id, record in records.items() if record.suspicion is not None}
    due = {tile_id for tile_id, one in suspects.items() if is_due(one, policy)}
    if not due:
        return Imposed({})
    waiting = {tile_id for tile_id, one in suspects.items() if one.is_quarantined(now_ms)}
    # Of equals those that wait go on waiting.
    ranked = sorted(due | waiting, key=lambda tile_id: (-suspects[tile_id].in_a_row, tile_id in due, tile_id))
    chosen = set(ranked[: policy.tiles_max(len(fleet.tiles))])
    return Imposed(
        {one: _with(records[one], quarantined(suspects[one], now_ms, policy)) for one in ranked if one in due & chosen},
        {one: _with(records[one], spared(suspects[one], now_ms)) for one in ranked if one in waiting - chosen},
        len(due - chosen),
    )


def forgive(fleet: Fleet, settled: Settled, now_ms: int, policy: QuarantinePolicy) -> dict[TileId, TileRecord]:
    """Suspects that have had one living owner for long, without what spoke against them."""
    tiles = fleet.tiles
    rows = np.fromiter(tiles.suspicions, np.intp, len(tiles.suspicions))
    is_old = tiles.owner_since_ms[rows] <= now_ms - policy.forgiven_after_ms
    is_at_work = (tiles.owner[rows] != NOBODY) & (tiles.owner_acknowledged_ms[rows] > 0)
    forgiven: dict[TileId, TileRecord] = {}
    for row in rows[is_old & is_at_work][:FORGIVEN_MAX].tolist():
        tile_id = tiles.id_of(row)
        record = fleet.record(tile_id)
        if record is not None and tile_id not in settled:
            forgiven[tile_id] = msgspec.structs.replace(record, suspicion=None)
    return forgiven


def quarantined_rows(fleet: Fleet, now_ms: int) -> list[int]:
    """The rows of the tiles that wait without an owner."""
    tiles = fleet.tiles
    waiting = [row for row, until_ms in tiles.quarantines.items() if now_ms < until_ms]
    return [row for row in waiting if tiles.owner[row] == NOBODY and row not in tiles.retiring]


def _unowned_suspects(fleet: Fleet, settled: Settled) -> dict[TileId, TileRecord]:
    tiles = fleet.tiles
    suspects: dict[TileId, TileRecord | None] = {}
    if tiles.suspicions:
        unowned = np.flatnonzero(tiles.exists[: tiles.rows_used] & (tiles.owner[: tiles.rows_used] == NOBODY))
        tile_ids = [tiles.id_of(row) for row in sorted(tiles.suspicions.keys() & set(unowned.tolist()))]
        suspects = {tile_id: fleet.record(tile_id) for tile_id in tile_ids}
    return {
        tile_id: record
        for tile_id, record in (suspects | dict(settled)).items()
        if record is not None and record.suspicion is not None and record.owner is None and not record.retiring
    }


def _with(record: TileRecord, suspicion: Suspicion) -> TileRecord:
    return msgspec.structs.replace(record, suspicion=suspicion)
