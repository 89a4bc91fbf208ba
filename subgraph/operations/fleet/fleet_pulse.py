"""Owns values read of the live fleet beside its records: the store's status, pods' claims, load reports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from subgraph.domain.fleet.changes import CycleReport, Pause
from subgraph.domain.ids import PodId, TileId, version_of
from subgraph.domain.load_report import LoadColumns


@dataclass(frozen=True, slots=True)
class Beat:
    """The pulse of the live store: its time, who leads, the newest change, and every pod's lease.

    `is_adopted`: a leader has begun a term since the store was restarted, replaced or emptied; until then nothing is
    written. `era`: the incarnation that began after the store last forgot writes. `is_restored`: what was lost before
    the era is restored. `pods_with_claims`: pods whose claims to what they held before it are not decided.
    `unrecorded_changes` wait for history to record them; `dropped_changes` were too many, and it never will.
    """

    now_ms: int
    incarnation: int
    published_version: int
    leader: str | None
    leases: Mapping[PodId, int] = field(default_factory=dict)
    applied: Mapping[PodId, int] = field(default_factory=dict)
    last_cycle: CycleReport | None = None
    pause: Pause | None = None
    is_adopted: bool = True
    era: int = 0
    is_restored: bool = True
    pods_with_claims: int = 0
    unrecorded_changes: int = 0
    dropped_changes: int = 0


@dataclass(frozen=True, slots=True)
class PodClaims:
    """What a pod said when it registered that it still held: tiles, each at an epoch that the store does not vouch for.

    `version`: of the registration that made the claims.
    """

    pod_id: PodId
    version: int
    held: Mapping[TileId, int]


NOTHING_HELD: Mapping[TileId, int] = MappingProxyType({})


def claims_among(held: Mapping[TileId, int], beat: Beat) -> dict[TileId, int]:
    """What a pod that registers holds at epochs from before the era, or that the store has never given out."""
    era_began = version_of(beat.era, 0)
    return {one: epoch for one, epoch in held.items() if not era_began <= epoch <= beat.published_version}


@dataclass(frozen=True, slots=True, eq=False)
class LoadReading:
    """Reports as they were read in one go, and how many more were malformed and set aside."""

    columns: LoadColumns
    malformed: int = 0
