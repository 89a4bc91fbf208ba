"""Owns which steps of ownership a simulated world has gone through: seen from what the store publishes, and counted."""

from collections import Counter
from collections.abc import Callable

from subgraph.domain.fleet.changes import FleetChange
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentState, TileRecord, ended_terms, terms_of
from subgraph.domain.pods import PodRecord, PodStatus
from tests.support.store_twin import Stored, Told

Step = Callable[[TileRecord, TileRecord], bool]


def _ends_as(state: AssignmentState) -> Step:
    return lambda before, after: any(end is state for _, end in ended_terms(before, after))


def _has_begun(before: TileRecord, after: TileRecord) -> bool:
    living = {term.epoch for term, _ in terms_of(before)}
    return after.owner is not None and after.owner.epoch not in living


def _cuts_over(before: TileRecord, after: TileRecord) -> bool:
    return before.next is not None and after.epoch_in_force == before.next.epoch


STEPS: dict[str, Step] = {
    "a tile is placed": _has_begun,
    "the next owner prepares": lambda before, after: before.next is None and after.next is not None,
    "the next owner is READY": lambda before, after: (
        before.next is not None and after.next is not None and not before.next.ready and after.next.ready
    ),
    "cut over, the former owner drains": lambda before, after: _cuts_over(before, after) and before.owner is not None,
    "cut over from a lost owner": lambda before, after: (
        _cuts_over(before, after)
        and (before.owner is None or before.owner.epoch not in {term.epoch for term, _ in terms_of(after)})
    ),
    "the owner is ACTIVE": lambda before, after: (
        before.owner is not None
        and before.owner.acknowledged_at_ms is None
        and after.owner is not None
        and after.owner.acknowledged_at_ms is not None
    ),
    "an owner is told again": lambda before, after: (
        before.owner is not None and after.owner is not None and after.owner.reminders > before.owner.reminders
    ),
    "a term ends RELEASED": _ends_as(AssignmentState.RELEASED),
    "a term ends LOST": _ends_as(AssignmentState.LOST),
    "a term ends ABORTED": _ends_as(AssignmentState.ABORTED),
    "a tile retires": lambda before, after: after.retiring and not before.retiring,
    "a tile is suspected": lambda before, after: (
        after.suspicion is not None and before.suspicion is None and before.owner is not None
    ),
    "a tile is quarantined": lambda before, after: (
        after.suspicion is not None
        and after.suspicion.quarantined_until_ms > (before.suspicion.quarantined_until_ms if before.suspicion else 0)
    ),
}
"""Steps of a tile from one record to the next."""

TILE_BEGINS, TILE_GOES = "a tile is registered", "a tile is gone"
POD_STEPS = {
    (None, PodStatus.READY): "a pod registers",
    (PodStatus.READY, PodStatus.READY): "a pod registers again",
    (PodStatus.READY, PodStatus.LOST): "a pod is LOST",
    (PodStatus.LOST, PodStatus.READY): "a lost pod comes back",
    (PodStatus.READY, PodStatus.DRAINING): "a pod drains",
    (PodStatus.DRAINING, PodStatus.READY): "a drained pod is taken back",
    (PodStatus.DRAINING, PodStatus.LOST): "a draining pod is LOST",
    (PodStatus.DRAINING, PodStatus.GONE): "a pod leaves",
    (PodStatus.GONE, PodStatus.READY): "a pod that left comes back",
}
"""Steps of a pod from one status to another."""

TERM_BEGINS = "a term of leading begins"
ALL = (*STEPS, TILE_BEGINS, TILE_GOES, *POD_STEPS.values(), TERM_BEGINS)


class Transitions:
    """Counts the steps of one world."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._tiles: dict[TileId, TileRecord] = {}
        self._pods: dict[PodId, PodRecord] = {}
        self._incarnation = 0

    def begin_from(self, stored: Stored) -> None:
        """What the store holds now has not come by steps."""
        self._tiles = {tile_id: found.record for tile_id, found in stored.tiles.items()}
        self._pods = {pod_id: found.record for pod_id, found in stored.pods.items()}

    def hear(self, told: Told) -> None:
        """Count what a change has done."""
        if not isinstance(told, FleetChange):
            return
        if told.version >> 32 > self._incarnation:
            self._incarnation = told.version >> 32
            self.counts[TERM_BEGINS] += 1
        for tile_id, after in told.tiles.items():
            self._tile_changes(self._tiles.pop(tile_id, None), after)
            if after is not None:
                self._tiles[tile_id] = after
        for pod_id, pod in told.pods.items():
            former = self._pods.pop(pod_id, None)
            step = pod and POD_STEPS.get((former.status if former else None, pod.status))
            if step:
                self.counts[step] += 1
            if pod is not None:
                self._pods[pod_id] = pod

    def _tile_changes(self, before: TileRecord | None, after: TileRecord | None) -> None:
        if before is None or after is None:
            self.counts[TILE_BEGINS if before is None else TILE_GOES] += 1
            return
        for name, has_happened in STEPS.items():
            if has_happened(before, after):
                self.counts[name] += 1
