"""Owns the values of a write to the live fleet: its author and proof, what is compared, its result."""

from dataclasses import dataclass

from subgraph.domain.ids import PodId, TileId
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord

TILES_PER_COMMIT_MAX = 1_000
"""More in one script would block the store for long (300,000 do for a second)."""
COMMIT_ATTEMPTS_MAX = 10
"""How often a write that lost a race is decided anew before the caller is asked to try again."""


@dataclass(frozen=True, slots=True)
class Leadership:
    """Proof of leading: the term (an incarnation) and the random token that holds the lease."""

    incarnation: int
    token: str


@dataclass(frozen=True, slots=True)
class PodLease:
    """Proof of being the one running instance of a pod."""

    pod_id: PodId
    token: str


Guard = Leadership | PodLease | None
"""Who writes. A leader's and a pod's writes fail once they are deposed; None: an operator's or a router's."""


@dataclass(frozen=True, slots=True)
class TileWrite:
    """Replace a tile's record if it is still of version `expected` (0: it must be absent). None removes it.

    `lost_owner`: whom it takes the tile from as lost. Should an instance of that pod run again, it may hold the tile,
    which is then left to it.
    """

    tile_id: TileId
    expected: int
    record: TileRecord | None
    lost_owner: PodId | None = None


@dataclass(frozen=True, slots=True)
class PodWrite:
    """Replace a pod's record if it is still of version `expected` and, with `if_lease_ended`, its lease has ended."""

    pod_id: PodId
    expected: int
    record: PodRecord | None
    if_lease_ended: bool = False


@dataclass(frozen=True, slots=True)
class Committed:
    """The version of the change (0: nothing was left to write), and what was not written.

    That had changed underneath; or a tile of the same group had, which none of the group outlives.
    """

    version: int
    tile_conflicts: frozenset[TileId] = frozenset()
    pod_conflicts: frozenset[PodId] = frozenset()


class NotLeading(Exception):
    """The lease is held by somebody else, or a newer incarnation is in force: whatever was decided is void."""


class IncarnationBehind(Exception):
    """The store knows a higher incarnation than the one that was to begin: SQL was put back to an earlier state."""

    def __init__(self, incarnation: int) -> None:
        super().__init__(f"incarnation {incarnation} is in force in the live store")
        self.incarnation = incarnation
