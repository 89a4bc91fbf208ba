"""Owns an operator's rules for one tile: its pin, the pods it is kept off, and its release from quarantine."""

from collections.abc import Iterable

import msgspec

from subgraph.domain import ownership
from subgraph.domain.errors import IllegalState, QuotaExceeded
from subgraph.domain.ids import PodId, TileId
from subgraph.domain.labels import Labels
from subgraph.domain.ownership import TileRecord

FORBIDDEN_PODS_MAX = 10
"""Pods that a tile may be kept off."""
TILES_WITH_FORBIDDEN_PODS_MAX = 1_000
"""Tiles of a fleet that may be kept off pods: each is one more row for the planner."""

_POD = ("podId",)


def check_place(
    tile_id: TileId, record: TileRecord, pod_id: PodId, required: Iterable[tuple[str, str]], borne: Labels
) -> None:
    """Refuse to put a tile by hand where a rule keeps it from: it would only be moved away again.

    Raises:
        IllegalState: an operator forbade it, or the pod lacks labels; they are named.
    """
    if pod_id in record.forbidden:
        raise IllegalState(f"tile {tile_id!r} is forbidden on pod {pod_id!r}: allow it there first", "FORBIDDEN", _POD)
    missing = [f"{key}={value}" for key, value in sorted(required) if borne.get(key) != value]
    if missing:
        raise IllegalState(f"pod {pod_id!r} lacks what tile {tile_id!r} requires: {', '.join(missing)}", "LABELS", _POD)


def check_pin(tile_id: TileId, record: TileRecord, pod_id: PodId) -> None:
    """Refuse to move a tile by hand to another pod than its pin, whose pod may keep tiles.

    Raises:
        IllegalState: naming the pin.
    """
    if record.pin != pod_id:
        raise IllegalState(f"tile {tile_id!r} is pinned to pod {record.pin!r}: unpin it first", "PINNED", _POD)


def pin(record: TileRecord, pod_id: PodId | None) -> TileRecord:
    """Want the tile on a pod; None: anywhere."""
    return msgspec.structs.replace(record, pin=pod_id)


def forbid(tile_id: TileId, record: TileRecord, pod_id: PodId) -> TileRecord:
    """Keep the tile off a pod. A handoff to it that has not been cut over is given up.

    Raises:
        IllegalState: the tile is pinned to that very pod.
        QuotaExceeded: it is kept off as many pods as it may be.
    """
    if record.pin == pod_id:
        raise IllegalState(f"tile {tile_id!r} is pinned to pod {pod_id!r}: unpin it first", "PINNED", _POD)
    if pod_id in record.forbidden:
        return record
    if len(record.forbidden) >= FORBIDDEN_PODS_MAX:
        raise QuotaExceeded("forbidden pods a tile", FORBIDDEN_PODS_MAX, FORBIDDEN_PODS_MAX + 1, _POD)
    if record.next is not None and record.next.pod_id == pod_id:
        record = ownership.abort(record)
    return msgspec.structs.replace(record, forbidden=(*record.forbidden, pod_id))


def allow(record: TileRecord, pod_id: PodId) -> TileRecord:
    """Let the tile be on a pod again."""
    return msgspec.structs.replace(record, forbidden=tuple(one for one in record.forbidden if one != pod_id))


def release(record: TileRecord) -> TileRecord:
    """End the tile's quarantine, and forget what spoke against it."""
    return msgspec.structs.replace(record, suspicion=None)
