"""Owns what must happen to tiles without any planning: lost owners, due cut-overs, time-outs, stopped sessions.

The cost grows with the tiles concerned, not with the tiles there are.
"""

from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from subgraph.domain import ownership
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodStatus
from subgraph.domain.suspicion import DEFAULT_QUARANTINE, QuarantinePolicy


@dataclass(frozen=True, slots=True)
class HandoffPolicy:
    """How long each phase of a handoff may take."""

    prepare_timeout_ms: int = 10_000
    drain_timeout_ms: int = 10_000
    forget_pods_after_ms: int = 600_000


def pods_to_lose(fleet: Fleet, now_ms: int, not_before_ms: int) -> list[PodRow]:
    """Pods whose lease has ended; nobody is lost before `not_before_ms` (a new leader waits one maximum lease)."""
    if now_ms < not_before_ms:
        return []
    return [
        pod for pod in fleet.pods if pod.is_known and pod.record.status.is_live and pod.lease_expires_at_ms <= now_ms
    ]


def pods_to_forget(fleet: Fleet, now_ms: int, policy: HandoffPolicy) -> list[PodRow]:
    """Pods lost or gone long ago that no term names any more."""
    candidates = [
        pod
        for pod in fleet.pods
        if not pod.record.status.is_live and now_ms - pod.record.status_at_ms > policy.forget_pods_after_ms
    ]
    return [pod for pod in candidates if not fleet.terms_of_pod(pod.id)]


def settle(
    fleet: Fleet,
    now_ms: int,
    lost: Set[PodId],
    policy: HandoffPolicy,
    quarantine: QuarantinePolicy = DEFAULT_QUARANTINE,
) -> dict[TileId, TileRecord | None]:
    """What every tile touched by a lost pod, a handoff or a stopped session becomes now; None: the tile goes.

    Args:
        fleet: the picture to decide on.
        now_ms: the live store's time.
        lost: pods declared lost in this cycle, whose records may not show it yet.
        policy: the phases' time-outs.
        quarantine: when the death of its owner counts against a tile.
    """
    dead = {pod.id for pod in fleet.pods if not pod.record.status.is_live} | lost
    died_at_ms = _deaths(fleet, lost, now_ms)
    settled: dict[TileId, TileRecord | None] = {}
    for row in _rows_concerned(fleet, dead):
        tile_id = fleet.tiles.id_of(row)
        before = fleet.record(tile_id)
        assert before is not None
        owner_id = before.owner.pod_id if before.owner else None
        if owner_id in died_at_ms:
            after = settle_tile(ownership.suspect(before, died_at_ms[owner_id], quarantine), now_ms, dead, policy)
        else:
            after = settle_tile(before, now_ms, dead, policy)
        if after != before:
            settled[tile_id] = after
    return settled


def lost_owners(fleet: Fleet, settled: Mapping[TileId, TileRecord | None]) -> dict[TileId, PodId]:
    """Whom settling takes tiles from as lost or gone, by tile. Should such a pod run again, it may hold them."""
    lost: dict[TileId, PodId] = {}
    for tile_id, after in settled.items():
        row = fleet.tiles.row(tile_id)
        owner_id = None if row is None else fleet.owner_id(row)
        if row is not None and owner_id is not None:
            epoch = int(fleet.tiles.owner_epoch[row])
            if after is None or all(term.epoch != epoch for term, _ in ownership.terms_of(after)):
                lost[tile_id] = owner_id
    return lost


def _deaths(fleet: Fleet, lost: Set[PodId], now_ms: int) -> dict[PodId, int]:
    """When pods died at work. Those that left or were drained are dead too, but not of their tiles."""
    return {
        pod.id: now_ms if pod.record.status.is_live else pod.record.status_at_ms
        for pod in fleet.pods
        if (pod.record.status is PodStatus.LOST or pod.id in lost) and pod.record.died_at_work
    }


def settle_tile(before: TileRecord, now_ms: int, dead: Set[PodId], policy: HandoffPolicy) -> TileRecord | None:
    """What a tile becomes now, as far as its own record says, and which pods are dead; None: the tile goes."""
    record = before
    if record.owner and record.owner.pod_id in dead:
        record = ownership.drop_owner(record)
    following = record.next
    if following:
        if following.pod_id in dead:
            record = ownership.abort(record)
        elif record.owner is None or following.ready:
            record = ownership.cut_over(record, now_ms)
        elif now_ms - following.assigned_at_ms > policy.prepare_timeout_ms:
            record = ownership.abort(record)
    draining = record.draining
    if draining and (draining.pod_id in dead or now_ms - (draining.draining_since_ms or 0) > policy.drain_timeout_ms):
        return ownership.drop_draining(record)
    if record.retiring and record.draining is None:
        return None
    return record


def _rows_concerned(fleet: Fleet, dead: Set[PodId]) -> list[int]:
    tiles = fleet.tiles
    rows = {*tiles.next, *tiles.draining, *tiles.retiring}
    dead_rows = [row for row in map(fleet.pods.row, dead) if row is not None]
    if dead_rows:
        owner = tiles.owner[: tiles.rows_used]
        rows.update(np.flatnonzero(np.isin(owner, dead_rows)).tolist())
    return sorted(rows)


def accepts_tiles(pod: PodRow) -> bool:
    """Whether a pod may receive tiles."""
    return pod.is_known and pod.record.status is PodStatus.READY
