"""Owns how a snapshot becomes tables: filled beside the picture, a slice at a time, and then put in its place."""

from itertools import islice

import numpy as np

from subgraph.domain.fleet.cell_index import NO_ROW
from subgraph.domain.fleet.changes import FleetSnapshot
from subgraph.domain.fleet.pod_table import PodTable
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.ids import TileId
from subgraph.domain.ownership import terms_of


class Adoption:
    """A snapshot on its way into the picture, which stays as it is until `Fleet.become`.

    A hundred thousand tiles take about a second: whoever must not stand still for so long takes them slice by slice.
    """

    def __init__(self, snapshot: FleetSnapshot) -> None:
        self.version = snapshot.version
        self.read_until = max(snapshot.version, snapshot.read_until)
        self.era = snapshot.era
        self.tiles, self.pods = TileTable(), PodTable()
        self.in_force: set[TileId] = set()
        self._waiting = iter(snapshot.tiles.items())
        self._left = len(snapshot.tiles)
        for pod_id, pod in snapshot.pods.items():
            self.pods.put(pod_id, pod.record, pod.version)
        for session_id, requirement in snapshot.requirements.items():
            self.tiles.requirements.put_session(session_id, requirement, self.tiles.rows_of_session(session_id))

    def take(self, tiles_max: int) -> bool:
        """Take in that many tiles more; answer whether there are any left."""
        for tile_id, tile in islice(self._waiting, tiles_max):
            record = tile.record
            row = self.tiles.add(tile_id, record.tenant_id)
            owner_row = self.pods.row_or_new(record.owner.pod_id) if record.owner else NOBODY
            self.tiles.write(row, record, tile.version, owner_row)
            if not record.retiring:
                self.in_force.add(tile_id)
            for term, _ in terms_of(record):
                pod_row = self.pods.rows[self.pods.row_or_new(term.pod_id)]
                assert pod_row is not None
                pod_row.concerned_at = max(pod_row.concerned_at, tile.version)
        self._left -= tiles_max
        return self._left > 0


def in_force_but_not_in(other: TileTable, table: TileTable) -> set[TileId]:
    """The tiles of a table that do not retire, but for those of another that do not either."""
    here, there = table.in_force(), np.append(other.in_force(), False)  # the last one stands for NO_ROW
    missing: set[TileId] = set()
    for session_id, index in table.cells_of_session.items():
        rows, rows_there = index.rows, other.rows_at(session_id, index.cells)
        missing.update(map(table.id_of, rows[here[rows] & ~there[rows_there]].tolist()))
    return missing


def carry_loads(source: TileTable, target: TileTable) -> None:
    """Copy what was reported of the tiles that both have, and that do not retire."""
    in_force = target.in_force()
    for session_id, index in target.cells_of_session.items():
        rows, former = index.rows, source.rows_at(session_id, index.cells)
        kept = (former != NO_ROW) & in_force[rows]
        for name in ("smoothed", "records_per_second", "bytes_per_second", "volume_bytes", "backlog", "reported_at_ms"):
            getattr(target, name)[rows[kept]] = getattr(source, name)[former[kept]]
