"""Owns the pod: what it registers with, its status, and what a registration must look like."""

from enum import StrEnum

import msgspec

from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import ID_LENGTH_MAX, PodId
from subgraph.domain.labels import LABELS_MAX, ZONE, Labels, check_labels
from subgraph.domain.limits import check_length, check_number
from subgraph.domain.texts import check_line

TEXT_LENGTH_MAX = 200
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
        return self not in _OVER

    @property
    def keeps_tiles(self) -> bool:
        """Whether the pod may keep the tiles it has."""
        return self in (PodStatus.READY, PodStatus.CORDONED)


_OVER = frozenset({PodStatus.LOST, PodStatus.GONE})
"""Every cycle asks it of every pod, several times."""


class PodRecord(msgspec.Struct, frozen=True, array_like=True):
    """A pod as the live store holds it. `lease_token` is the identity of the one instance that runs.

    `was_draining`: a lost pod had been drained; its end says nothing about its tiles. `era`: that of the live store
    when the instance registered; in a later one, the registration is void. `shunned_until_ms`: until then it receives
    no tiles, because it did not take one over in time.
    """

    service: str
    capacity: float
    lease_ms: int
    lease_token: str
    registered_at_ms: int
    status: PodStatus = PodStatus.READY
    zone: str | None = None
    labels: Labels = {}
    tiles_max: int | None = None
    status_at_ms: int = 0
    was_draining: bool = False
    era: int = 0
    shunned_until_ms: int = 0

    @property
    def borne_labels(self) -> Labels:
        """What tiles may require of the pod: its labels, and its zone as one more."""
        return self.labels if self.zone is None else {**self.labels, ZONE: self.zone}

    @property
    def instance(self) -> str | None:
        """The lease token of the instance that runs; None once the pod is lost or has left."""
        return self.lease_token if self.status.is_live else None

    def with_status(self, status: PodStatus, now_ms: int) -> "PodRecord":
        """The record with another status from now on. Who makes a pod READY by hand knows better than to shun it."""
        was_draining = status is PodStatus.LOST and self.status is PodStatus.DRAINING
        shunned_until_ms = 0 if status is PodStatus.READY else self.shunned_until_ms
        return msgspec.structs.replace(
            self, status=status, status_at_ms=now_ms, was_draining=was_draining, shunned_until_ms=shunned_until_ms
        )

    def receives_tiles(self, now_ms: int) -> bool:
        """Whether tiles may be given to the pod."""
        return self.status is PodStatus.READY and now_ms >= self.shunned_until_ms

    @property
    def died_at_work(self) -> bool:
        """Whether the instance, if it is no longer there, ended at work: it had neither left nor been drained."""
        return self.status in (PodStatus.READY, PodStatus.CORDONED, PodStatus.LOST) and not self.was_draining


def check_registration(
    pod_id: PodId,
    service: str,
    capacity: float,
    tiles_max: int | None,
    zone: str | None,
    labels: Labels,
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
    _check_text("service", service)
    check_number("capacity", capacity, CAPACITY_MIN, CAPACITY_MAX, ("capacity",))
    if tiles_max is not None:
        check_number("maxTiles", tiles_max, 0, TILES_PER_POD_MAX, ("maxTiles",))
    check_bearing(zone, labels)
    if not LEASE_MS_MIN <= lease_ms <= lease_ms_max:
        raise InvalidInput(
            f"lease must lie between {LEASE_MS_MIN} ms and the fleet's maximum of {lease_ms_max} ms",
            ("lease",),
            f"{lease_ms_max} ms",
        )


def check_bearing(zone: str | None, labels: Labels, path: tuple[str, ...] = ()) -> None:
    """Refuse a zone or labels that are malformed, beyond a limit, or contradict each other.

    Raises:
        InvalidInput: naming the field and its limit; `path` is of the pod in the input.
    """
    if zone is not None:
        _check_text("zone", zone, path)
        if labels.get(ZONE, zone) != zone:
            raise InvalidInput(
                f"the pod cannot be in zone {zone!r} and bear the label {ZONE}={labels[ZONE]}", (*path, "zone")
            )
    check_labels(labels, (*path, "labels"), LABELS_MAX)


def _check_text(name: str, text: str, path: tuple[str, ...] = ()) -> None:
    check_length(name, len(text), TEXT_LENGTH_MAX, (*path, name))
    check_line(name, text, (*path, name))
