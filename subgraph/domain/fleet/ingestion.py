"""Owns how reported loads come into the tiles' columns: only those of terms in force, smoothed, many at a time."""

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.cell_index import NO_ROW
from subgraph.domain.fleet.pod_table import PodTable
from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.load_report import LoadColumns
from subgraph.domain.loads import LoadMetric

SMOOTHING = 0.3
"""Weight of a new report in the exponentially weighted moving average of a tile's load."""

_METRIC_COLUMN = {
    LoadMetric.RECORDS: "records_per_second",
    LoadMetric.BYTES: "bytes_per_second",
    LoadMetric.BACKLOG: "backlog",
}
_UNKNOWN_POD = -2
"""No tile's owner, and not NOBODY either."""

Entries = npt.NDArray[np.intp]
Rows = npt.NDArray[np.int32]


def ingest(tiles: TileTable, pods: PodTable, loads: LoadColumns, metric: LoadMetric) -> Rows:
    """Take over what owners reported at their epochs; entries of other terms, and of no tile, are passed over.

    Returns:
        The rows taken over: one for each entry, so a row comes again if its owner reported twice.
    """
    if not loads.cells.size:
        return np.empty(0, np.int32)
    rows = _rows_of(tiles, loads)
    pod_rows = np.array([_known(pods.row(pod_id)) for pod_id in loads.pod_ids], np.int32)
    is_owner = tiles.owner[rows] == pod_rows[loads.report]
    in_force = np.flatnonzero((rows != NO_ROW) & is_owner & (tiles.owner_epoch[rows] == loads.epochs))
    # A pod's reports count one after the other: each is smoothed onto the one before.
    for entries in _in_turns(loads, in_force):
        _take(tiles, loads, entries, rows[entries], metric)
    return rows[in_force]


def _rows_of(tiles: TileTable, loads: LoadColumns) -> Rows:
    if len(loads.session_ids) == 1:
        return tiles.rows_at(loads.session_ids[0], loads.cells)
    rows = np.full(loads.cells.size, NO_ROW, np.int32)
    order = np.argsort(loads.session, kind="stable")
    ends = np.cumsum(np.bincount(loads.session, minlength=len(loads.session_ids)))
    for session_id, entries in zip(loads.session_ids, np.split(order, ends[:-1]), strict=True):
        rows[entries] = tiles.rows_at(session_id, loads.cells[entries])
    return rows


def _in_turns(loads: LoadColumns, entries: Entries) -> list[Entries]:
    reports_before: dict[str, int] = {}
    turns = np.zeros(len(loads.pod_ids), np.int32)
    for index, pod_id in enumerate(loads.pod_ids):
        turns[index] = reports_before.get(pod_id, 0)
        reports_before[pod_id] = turns[index] + 1
    if not turns.any():
        return [entries] if entries.size else []
    turn = turns[loads.report[entries]]
    ordered = entries[np.argsort(turn, kind="stable")]
    return [part for part in np.split(ordered, np.cumsum(np.bincount(turn))[:-1]) if part.size]


def _take(tiles: TileTable, loads: LoadColumns, entries: Entries, rows: Rows, metric: LoadMetric) -> None:
    for name in ("records_per_second", "bytes_per_second", "volume_bytes", "backlog"):
        getattr(tiles, name)[rows] = getattr(loads, name)[entries]
    fresh = getattr(loads, _METRIC_COLUMN[metric])[entries].astype(np.float64)
    known = tiles.smoothed[rows]
    tiles.smoothed[rows] = np.where(np.isnan(known), fresh, known + SMOOTHING * (fresh - known))
    tiles.reported_at_ms[rows] = loads.at_ms[loads.report[entries]]


def _known(pod_row: int | None) -> int:
    return _UNKNOWN_POD if pod_row is None else pod_row
