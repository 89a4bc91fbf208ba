"""Owns the fleet as one process sees it: applies snapshots, ordered changes, leases and load reports; answers sums."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from subgraph.domain.fleet.adoption import Adoption, carry_loads, in_force_but_not_in
from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot
from subgraph.domain.fleet.ingestion import ingest
from subgraph.domain.fleet.inheritance import Estate, estates, inherit
from subgraph.domain.fleet.pod_table import PodRow, PodTable
from subgraph.domain.fleet.retired import RetiredTile, RetiredTiles
from subgraph.domain.fleet.terms import TermChange, changed_terms, term_change
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.fleet.tile_table import TileTable
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.load_report import LoadColumns
from subgraph.domain.loads import LoadMetric
from subgraph.domain.ownership import AssignmentState, TileRecord
from subgraph.domain.pods import PodStatus


class GapInChanges(Exception):
    """A change does not follow the last one applied: changes were missed, and a snapshot is due."""


@dataclass(slots=True)
class Effects:
    """What a change did, for whoever watches.

    `touched` are tiles in force that it wrote, `removed` those that no longer are in force; per pod, `terms_of_pod` are
    the terms that became other. `instances`: pods of which another instance runs now, or none.
    """

    version: int
    touched: set[TileId] = field(default_factory=set)
    removed: set[TileId] = field(default_factory=set)
    terms_of_pod: dict[PodId, list[TermChange]] = field(default_factory=dict)
    instances: set[PodId] = field(default_factory=set)


class Fleet:
    """Pods and tiles at `version`. Not for concurrent use: whoever reads, reads between two changes."""

    def __init__(self, load_metric: LoadMetric = LoadMetric.RECORDS) -> None:
        self.version = 0
        self.era = 0
        """The incarnation that began after the live store last forgot writes."""
        self.snapshot_version = 0
        """What ended before this version is not known any more: who has missed it needs to read all. A picture that is
        not there yet mixes moments: one thing in it may be from before a change, and another from after it."""
        self.tiles = TileTable()
        self.pods = PodTable()
        self.retired = RetiredTiles()
        self.last_cycle: CycleReport | None = None
        self._load_metric = load_metric
        self._revision = 0
        self._pod_sums: tuple[int, npt.NDArray[np.float64], npt.NDArray[np.intp]] | None = None
        self._capacity_default: tuple[int, float] | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all is as of one moment."""
        return self.version >= self.snapshot_version

    def adopt(self, snapshot: FleetSnapshot) -> Effects:
        """Become the snapshot at once; see `become`."""
        adoption = Adoption(snapshot)
        adoption.take(len(snapshot.tiles))
        return self.become(adoption)

    def become(self, adoption: Adoption) -> Effects:
        """Become what a snapshot has been made. Loads known so far stay with their tiles, leases with their pods.

        Returns:
            All tiles there are as touched, and those that were missed going as removed; a pod's terms are read anew.
        """
        self._revision += 1
        former, former_pods = self.tiles, self.pods
        self.tiles, self.pods = adoption.tiles, adoption.pods
        for pod in self.pods:
            before = former_pods.get(pod.id)
            if before is not None:
                pod.lease_expires_at_ms = max(pod.lease_expires_at_ms, before.lease_expires_at_ms)
                pod.applied_version = before.applied_version
        carry_loads(former, self.tiles)
        removed = in_force_but_not_in(self.tiles, former)
        inherit(self.tiles, estates(former, removed, in_force_but_not_in(former, self.tiles)))
        for row, at_ms in former.retired_at_ms.items():
            if self.tiles.row(gone := former.id_of(row)) is None:
                self.retired.remember(gone, RetiredTile(former.tenant_of(row), at_ms))
        for tile_id in adoption.in_force:
            self.retired.forget(tile_id)
        self.version, self.snapshot_version = adoption.version, adoption.read_until
        self.era = adoption.era
        return Effects(adoption.version, adoption.in_force, removed)

    def apply(self, change: FleetChange) -> Effects:
        """Apply the next change.

        Raises:
            GapInChanges: it follows another one than the last applied; nothing was applied.
        """
        if change.previous != self.version:
            raise GapInChanges(f"at {self.version}, but the change {change.version} follows {change.previous}")
        self._revision += 1
        effects = Effects(change.version)
        for session_id, requirement in change.requirements.items():
            self.tiles.requirements.put_session(session_id, requirement, self.tiles.rows_of_session(session_id))
        left = self._left_behind(change)
        for tile_id, after in change.tiles.items():
            self._apply_to_tile(effects, tile_id, after, change)
        inherit(self.tiles, left)
        for pod_id in effects.terms_of_pod:
            pod_row = self.pods.rows[self.pods.row_or_new(pod_id)]
            assert pod_row is not None
            pod_row.concerned_at = change.version
        # After the tiles: a pod that goes is still needed to tell of its terms that end with it.
        for pod_id, pod in change.pods.items():
            known = self.pods.get(pod_id)
            if known is not None and (pod is None or pod.instance != known.record.instance):
                effects.instances.add(pod_id)
            if pod is None:
                self.pods.remove(pod_id)
            else:
                self.pods.put(pod_id, pod, change.version)
        self.version = change.version
        return effects

    def record(self, tile_id: TileId) -> TileRecord | None:
        """A tile as the live store holds it, or None."""
        row = self.tiles.row(tile_id)
        return None if row is None else self.tiles.record(row, self.owner_id(row))

    def knows_session(self, session_id: SessionId) -> bool:
        """Whether a session has a tile, or anything is noted of what it requires."""
        tiles = self.tiles
        return bool(tiles.rows_of_session(session_id).size) or tiles.requirements.of_session(session_id) is not None

    def reported_load(self, tile_id: TileId) -> float:
        """A tile's smoothed load; 0 while nothing was reported."""
        row = self.tiles.row(tile_id)
        return 0.0 if row is None else float(np.nan_to_num(self.tiles.smoothed[row]))

    def owner_id(self, row: int) -> PodId | None:
        """The pod that owns the tile of a row, or None."""
        return self.pods.id_at(int(self.tiles.owner[row]))

    def terms_of_pod(self, pod_id: PodId) -> list[TermChange]:
        """All living terms of a pod: what it should be doing."""
        pod_row = self.pods.row(pod_id)
        if pod_row is None:
            return []
        tiles = self.tiles
        owned = np.flatnonzero(tiles.owner[: tiles.rows_used] == pod_row)
        terms = [(row, tiles.owner_term(row, pod_id), AssignmentState.ACTIVE) for row in owned.tolist()]
        for others, state in ((tiles.next, AssignmentState.PREPARING), (tiles.draining, AssignmentState.DRAINING)):
            terms += [(row, term, state) for row, term in others.items() if term.pod_id == pod_id]
        return [
            term_change(tiles.id_of(row), term, state, tiles.pins.get(row), tiles.replaces.get(row, ()))
            for row, term, state in terms
        ]

    def instance_of(self, pod_id: PodId) -> str | None:
        """The lease token of the pod's instance that runs; None: there is none, or it must register anew."""
        pod = self.pods.get(pod_id)
        return pod.record.instance if pod is not None and pod.record.era >= self.era else None

    def renew(self, leases: Mapping[PodId, int], applied: Mapping[PodId, int]) -> None:
        """Take over the leases' ends (Redis time, milliseconds) and the versions that pods say they have applied."""
        for pod in self.pods:
            pod.lease_expires_at_ms = leases.get(pod.id, 0)
            pod.applied_version = applied.get(pod.id)

    def ingest(self, loads: LoadColumns) -> npt.NDArray[np.int32]:
        """Take over the loads that pods reported for terms in force; entries of other terms are passed over.

        Returns:
            The rows taken over.
        """
        rows = ingest(self.tiles, self.pods, loads, self._load_metric)
        if rows.size:
            self._revision += 1
        return rows

    def pod_loads(self) -> npt.NDArray[np.float64]:
        """Smoothed load per pod row; tiles without a report add nothing."""
        return self._sums_of_pods()[0]

    def pod_tile_counts(self) -> npt.NDArray[np.intp]:
        """Owned tiles per pod row."""
        return self._sums_of_pods()[1]

    def ready_pods(self) -> list[PodRow]:
        """The pods that may receive tiles."""
        return [pod for pod in self.pods if pod.record.status is PodStatus.READY]

    def tile_capacity_default(self) -> float:
        """Half the median ready pod's capacity: what a tile may carry when its coverage does not say. NaN: no pod."""
        # Whoever reads tiles one by one asks for it of each.
        if self._capacity_default is None or self._capacity_default[0] != self._revision:
            capacities = [pod.record.capacity for pod in self.ready_pods()]
            self._capacity_default = self._revision, float(np.median(capacities)) / 2 if capacities else math.nan
        return self._capacity_default[1]

    def _sums_of_pods(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]:
        # One request may ask for the load of every pod, or of one pod a thousand times over.
        if self._pod_sums is None or self._pod_sums[0] != self._revision:
            used, rows = self.tiles.rows_used, len(self.pods.rows)
            owned = self.tiles.owner[:used] != NOBODY
            owner = self.tiles.owner[:used][owned]
            loads = np.nan_to_num(self.tiles.smoothed[:used][owned])
            sums = np.bincount(owner, weights=loads, minlength=rows).astype(np.float64)
            self._pod_sums = self._revision, sums, np.bincount(owner, minlength=rows)
        return self._pod_sums[1:]

    def _apply_to_tile(self, effects: Effects, tile_id: TileId, after: TileRecord | None, change: FleetChange) -> None:
        tiles = self.tiles
        row = tiles.row(tile_id)
        if row is not None and tiles.changed_at[row] > change.version:
            return  # a snapshot taken while changes went on may hold a tile's later record already
        known = [] if row is None else tiles.terms(row, self.owner_id(row))
        if _is_in_force(after):
            effects.touched.add(tile_id)
            self.retired.forget(tile_id)
        elif row is not None and row not in tiles.retiring:
            effects.removed.add(tile_id)
        if after is not None:
            row = tiles.add(tile_id, after.tenant_id) if row is None else row
            owner_row = self.pods.row_or_new(after.owner.pod_id) if after.owner else NOBODY
            tiles.write(row, after, change.version, owner_row)
        elif row is not None:
            if row in tiles.retired_at_ms:
                self.retired.remember(tile_id, RetiredTile(tiles.tenant_of(row), tiles.retired_at_ms[row]))
            tiles.remove(row)
        for term in changed_terms(tile_id, known, after, change.at_ms):
            effects.terms_of_pod.setdefault(term.term.pod_id, []).append(term)

    def _left_behind(self, change: FleetChange) -> list[Estate]:
        tiles = self.tiles
        leaving = [tile_id for tile_id, after in change.tiles.items() if not _is_in_force(after)]
        # Hardly any change is a split or merge: the others have no tile that leaves, or none that stays.
        if not leaving or len(leaving) == len(change.tiles):
            return []
        rows = {tile_id: tiles.row(tile_id) for tile_id in change.tiles}
        return estates(
            tiles,
            [one for one in leaving if rows[one] is not None and rows[one] not in tiles.retiring],
            [
                one
                for one, row in rows.items()
                if _is_in_force(change.tiles[one]) and (row is None or not tiles.reported_at_ms[row])
            ],
        )


def _is_in_force(record: TileRecord | None) -> bool:
    return record is not None and not record.retiring
