"""Owns what must happen to tiles without any planning: lost owners, due cut-overs, time-outs, stopped sessions.

The cost grows with the tiles concerned, not with the tiles there are.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Set
from itertools import islice

import numpy as np

from subgraph.domain import ownership
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.pod_table import PodRow
from subgraph.domain.fleet.tile_columns import NOBODY
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import AssignmentState, TileRecord
from subgraph.domain.pods import PodStatus
from subgraph.domain.suspicion import DEFAULT_QUARANTINE, QuarantinePolicy


def pods_to_lose(fleet: Fleet, now_ms: int, not_before_ms: int) -> list[PodRow]:
    """Pods whose lease has ended; nobody is lost before `not_before_ms` (a new leader waits one maximum lease)."""
    if now_ms < not_before_ms:
        return []
    # Hardly any lease has ended: that is asked first.
    return [
        pod for pod in fleet.pods if pod.lease_expires_at_ms <= now_ms and pod.is_known and pod.record.status.is_live
    ]


def pods_to_forget(fleet: Fleet, now_ms: int, policy: HandoffPolicy) -> list[PodRow]:
    """Pods lost or gone long ago that no term names any more."""
    over = [pod for pod_id in sorted(_over(fleet)) if (pod := fleet.pods.get(pod_id)) is not None]
    candidates = [pod for pod in over if now_ms - pod.record.status_at_ms > policy.forget_pods_after_ms]
    return [pod for pod in candidates if not fleet.terms_of_pod(pod.id)]


def settle(
    fleet: Fleet,
    now_ms: int,
    lost: Set[PodId],
    policy: HandoffPolicy,
    quarantine: QuarantinePolicy = DEFAULT_QUARANTINE,
    *,
    takes: bool = True,
) -> dict[TileId, TileRecord | None]:
    """What every tile touched by a lost pod, a handoff or a stopped session becomes now; None: the tile goes.

    Args:
        fleet: the picture to decide on.
        now_ms: the live store's time.
        lost: pods declared lost in this cycle, whose records may not show it yet.
        policy: the phases' time-outs.
        quarantine: when the death of its owner counts against a tile.
        takes: whether tiles are taken from live pods that have not taken them over in time; a new leader waits.
    """
    dead = _over(fleet) | lost
    died_at_ms = _deaths(fleet, lost, now_ms)
    receives = (pod.id for pod in fleet.pods if pod.is_known and pod.record.receives_tiles(now_ms))
    # Of two, one is another than a tile's owner.
    receivers = list(islice((pod_id for pod_id in receives if pod_id not in dead), 2))
    settled: dict[TileId, TileRecord | None] = {}
    for row in _rows_concerned(fleet, dead, now_ms, policy):
        owner_id = fleet.owner_id(row)
        before = fleet.tiles.record(row, owner_id)
        died_ms = died_at_ms.get(owner_id) if owner_id else None
        suspected = before if died_ms is None else ownership.suspect(before, died_ms, quarantine)
        others_receive = takes and any(pod_id != owner_id for pod_id in receivers)
        after = settle_tile(suspected, now_ms, dead, policy, others_receive=others_receive)
        if after != before:
            settled[fleet.tiles.id_of(row)] = after
    return settled


def lost_owners(
    fleet: Fleet, settled: Mapping[TileId, TileRecord | None], lost: Collection[PodId]
) -> dict[TileId, PodId]:
    """Whom settling takes tiles from as lost or gone, by tile. Should such a pod run again, it may hold them."""
    return {one: pod_id for one, pod_id in _taken(fleet, settled).items() if not _is_alive(fleet, pod_id, lost)}


def at_fault(fleet: Fleet, settled: Mapping[TileId, TileRecord | None], lost: Collection[PodId]) -> dict[PodId, int]:
    """Live pods that settling takes tiles from, because they have not taken them over in time; and how many each."""
    return Counter(pod_id for pod_id in _taken(fleet, settled).values() if _is_alive(fleet, pod_id, lost))


def _is_alive(fleet: Fleet, pod_id: PodId, lost: Collection[PodId]) -> bool:
    pod = fleet.pods.get(pod_id)
    return pod is not None and pod.record.status.is_live and pod_id not in lost


def _taken(fleet: Fleet, settled: Mapping[TileId, TileRecord | None]) -> dict[TileId, PodId]:
    """The owners whose terms settling ends, by tile."""
    taken: dict[TileId, PodId] = {}
    for tile_id, after in settled.items():
        row = fleet.tiles.row(tile_id)
        owner_id = None if row is None else fleet.owner_id(row)
        if row is not None and owner_id is not None:
            epoch = int(fleet.tiles.owner_epoch[row])
            if after is None or all(term.epoch != epoch for term, _ in ownership.terms_of(after)):
                taken[tile_id] = owner_id
    return taken


def _deaths(fleet: Fleet, lost: Set[PodId], now_ms: int) -> dict[PodId, int]:
    """When pods died at work. Those that left or were drained are dead too, but not of their tiles."""
    dead = [pod for pod_id in fleet.pods.with_status(PodStatus.LOST) | lost if (pod := fleet.pods.get(pod_id))]
    return {
        pod.id: now_ms if pod.record.status.is_live else pod.record.status_at_ms
        for pod in dead
        if pod.record.died_at_work
    }


def _over(fleet: Fleet) -> set[PodId]:
    """The pods of which no instance runs."""
    return fleet.pods.with_status(PodStatus.LOST, PodStatus.GONE)


def settle_tile(
    before: TileRecord, now_ms: int, dead: Set[PodId], policy: HandoffPolicy, *, others_receive: bool
) -> TileRecord | None:
    """What a tile becomes now, as far as its own record says, and which pods are dead; None: the tile goes.

    `others_receive`: whether any pod but the owner may be given tiles; if none, a slow owner is better than nobody.
    """
    record = before
    owner = record.owner
    if owner and owner.pod_id in dead:
        record = ownership.drop_owner(record)
    elif owner and owner.acknowledged_at_ms is None:
        reminders = max(0, now_ms - owner.in_force_since_ms) // policy.tell_again_ms
        if others_receive and policy.is_overdue(owner, AssignmentState.ACTIVE, now_ms):
            record = ownership.take_from_idle(record)
        elif reminders > owner.reminders:
            record = ownership.tell_again(record, reminders)
    following = record.next
    if following:
        if following.pod_id in dead:
            record = ownership.abort(record)
        elif record.owner is None or following.ready:
            record = ownership.cut_over(record, now_ms)
        elif policy.is_overdue(following, AssignmentState.PREPARING, now_ms):
            record = ownership.abort(record)
    draining = record.draining
    if draining and (draining.pod_id in dead or policy.is_overdue(draining, AssignmentState.DRAINING, now_ms)):
        return ownership.drop_draining(record)
    if record.retiring and record.draining is None:
        return None
    return record


def _rows_concerned(fleet: Fleet, dead: Set[PodId], now_ms: int, policy: HandoffPolicy) -> list[int]:
    """The rows for which `settle_tile` may have something to do: of many handoffs under way few take a step at once."""
    tiles = fleet.tiles
    rows = {row for row in tiles.retiring if row not in tiles.draining}
    # No phase begins before its term, so most need no closer look.
    old_ms = now_ms - min(policy.limits_ms.values())
    for row, term in tiles.next.items():
        is_due = term.ready or term.pod_id in dead or tiles.owner[row] == NOBODY
        if is_due or (term.assigned_at_ms < old_ms and policy.is_overdue(term, AssignmentState.PREPARING, now_ms)):
            rows.add(row)
    for row, term in tiles.draining.items():
        is_old = term.assigned_at_ms < old_ms
        if term.pod_id in dead or (is_old and policy.is_overdue(term, AssignmentState.DRAINING, now_ms)):
            rows.add(row)
    waiting = np.fromiter(tiles.unacknowledged, np.intp, len(tiles.unacknowledged))
    patience_ms = min(policy.tell_again_ms, policy.take_over_timeout_ms)
    rows.update(waiting[now_ms - tiles.owner_since_ms[waiting] >= patience_ms].tolist())
    dead_rows = [row for row in map(fleet.pods.row, dead) if row is not None]
    if dead_rows:
        owner = tiles.owner[: tiles.rows_used]
        rows.update(np.flatnonzero(np.isin(owner, dead_rows)).tolist())
    return sorted(rows)
