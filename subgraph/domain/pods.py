"""Owns the pod: what it registers with, its status, and what a registration must look like."""

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import ID_LENGTH_MAX, PodId

TEXT_LENGTH_MAX = 200
LABELS_MAX = 50
LEASE_MS_MIN = 500
CAPACITY_MIN = 1e-6
CAPACITY_MAX = 1e15
TILES_PER_POD_MAX = 1_000_000


class PodStatus(StrEnum):
    """Whether a pod may receive tiles (READY) and keeps those it has (READY, CORDONED)."""

    READY = "READY"
    CORDONED = "CORDONED"
    DRAINING = "DRAINING"
    LOST = "LOST"
    GONE = "GONE"

    @property
    def is_live(self) -> bool:
        """Whether an instance with a lease stands behind the pod."""
        return self not in (PodStatus.LOST, PodStatus.GONE)


class PodRecord(msgspec.Struct, frozen=True, array_like=True):
    """A pod as the live store holds it. `lease_token` is the identity of the one instance that runs."""

    service: str
    capacity: float
    lease_ms: int
    lease_token: str
    registered_at_ms: int
    status: PodStatus = PodStatus.READY
    zone: str | None = None
    labels: Mapping[str, str] = {}
    tiles_max: int | None = None
    status_at_ms: int = 0

    def with_status(self, status: PodStatus, now_ms: int) -> "PodRecord":
        """The record with another status from now on."""
        return msgspec.structs.replace(self, status=status, status_at_ms=now_ms)


def check_registration(
    pod_id: PodId,
    service: str,
    capacity: float,
    tiles_max: int | None,
    zone: str | None,
    labels: Mapping[str, str],
    lease_ms: int,
    lease_ms_max: int,
) -> None:
    """Refuse a registration that is malformed or beyond a limit.

    Raises:
        InvalidInput: naming the field and its limit.
    """
    if not 1 <= len(pod_id) <= ID_LENGTH_MAX or not pod_id.isprintable() or pod_id != pod_id.strip():
        raise InvalidInput(
            f"id must have 1 to {ID_LENGTH_MAX} printable characters", ("id",), f"{ID_LENGTH_MAX} characters"
        )
    for name, text in (("service", service), ("zone", zone)):
        if text is not None and not 1 <= len(text) <= TEXT_LENGTH_MAX:
            raise InvalidInput(
                f"{name} must have 1 to {TEXT_LENGTH_MAX} characters", (name,), f"{TEXT_LENGTH_MAX} characters"
            )
    if not CAPACITY_MIN <= capacity <= CAPACITY_MAX:
        limits = f"{CAPACITY_MIN:g} to {CAPACITY_MAX:g}"
        raise InvalidInput(f"capacity must be a number from {limits}", ("capacity",), limits)
    if tiles_max is not None and not 0 <= tiles_max <= TILES_PER_POD_MAX:
        raise InvalidInput(
            f"maxTiles must lie between 0 and {TILES_PER_POD_MAX:,}", ("maxTiles",), f"{TILES_PER_POD_MAX}"
        )
    if len(labels) > LABELS_MAX or any(len(k) > TEXT_LENGTH_MAX or len(v) > TEXT_LENGTH_MAX for k, v in labels.items()):
        raise InvalidInput(
            f"at most {LABELS_MAX} labels of at most {TEXT_LENGTH_MAX} characters each",
            ("labels",),
            f"{LABELS_MAX} labels",
        )
    if not LEASE_MS_MIN <= lease_ms <= lease_ms_max:
        raise InvalidInput(
            f"lease must lie between {LEASE_MS_MIN} ms and the fleet's maximum of {lease_ms_max} ms",
            ("lease",),
            f"{lease_ms_max} ms",
        )
