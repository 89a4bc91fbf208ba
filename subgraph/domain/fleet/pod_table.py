"""Owns the pods of the fleet: their records, leases and, per pod, the newest version that concerns it."""

from collections.abc import Iterator
from dataclasses import dataclass

from subgraph.domain.ids import PodId
from subgraph.domain.pods import PodRecord, PodStatus

_NOT_YET_KNOWN = PodRecord(
    service="", capacity=0.0, lease_ms=0, lease_token="", registered_at_ms=0, status=PodStatus.CORDONED
)


@dataclass(slots=True)
class PodRow:
    """One pod as this process sees it. Times are Redis time, milliseconds."""

    id: PodId
    record: PodRecord
    changed_at: int
    lease_expires_at_ms: int = 0
    applied_version: int | None = None
    concerned_at: int = 0
    """Version of the newest change that concerns one of the pod's terms."""

    @property
    def is_known(self) -> bool:
        """Whether the pod's record has arrived; until then nothing is decided about it."""
        return self.changed_at > 0

    @property
    def last_heartbeat_at_ms(self) -> int:
        """When the lease was renewed last."""
        return max(self.lease_expires_at_ms - self.record.lease_ms, self.record.registered_at_ms)


class PodTable:
    """Pods by row and by id. A row is never given to another pod, so rows in tile columns stay true."""

    def __init__(self) -> None:
        self.rows: list[PodRow | None] = []
        self._row_of: dict[PodId, int] = {}
        self._with_status: dict[PodStatus, set[PodId]] = {status: set() for status in PodStatus}

    def __len__(self) -> int:
        return len(self._row_of)

    def __iter__(self) -> Iterator[PodRow]:
        for row in self._row_of.values():
            pod = self.rows[row]
            assert pod is not None
            yield pod

    def get(self, pod_id: PodId) -> PodRow | None:
        """The pod of that id, or None."""
        row = self._row_of.get(pod_id)
        return None if row is None else self.rows[row]

    def row(self, pod_id: PodId) -> int | None:
        """The row of a pod, or None."""
        return self._row_of.get(pod_id)

    def id_at(self, row: int) -> PodId | None:
        """The pod of a row; None for NOBODY and for a pod that is gone."""
        pod = self.rows[row] if row >= 0 else None
        return pod.id if pod else None

    def with_status(self, *statuses: PodStatus) -> set[PodId]:
        """The known pods of any of these statuses: found without looking at all the others."""
        return set().union(*(self._with_status[status] for status in statuses))

    def row_or_new(self, pod_id: PodId) -> int:
        """The row of a pod, taken now if it has none: a tile may name a pod before its record arrives."""
        row = self._row_of.get(pod_id)
        if row is None:
            row = len(self.rows)
            self.rows.append(PodRow(pod_id, _NOT_YET_KNOWN, 0))
            self._row_of[pod_id] = row
        return row

    def put(self, pod_id: PodId, record: PodRecord, version: int) -> PodRow:
        """Write a pod's record."""
        row = self.row_or_new(pod_id)
        pod = self.rows[row]
        assert pod is not None
        self._with_status[pod.record.status].discard(pod_id)
        self._with_status[record.status].add(pod_id)
        pod.record, pod.changed_at = record, version
        # Known before the first pulse tells it: a registration gives a whole lease.
        pod.lease_expires_at_ms = max(pod.lease_expires_at_ms, record.registered_at_ms + record.lease_ms)
        return pod

    def remove(self, pod_id: PodId) -> None:
        """Forget a pod."""
        row = self._row_of.pop(pod_id, None)
        if row is not None:
            for pods in self._with_status.values():
                pods.discard(pod_id)
            self.rows[row] = None
