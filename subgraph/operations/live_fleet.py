"""Owns the promise about the fleet's live state: what any process may ask of it and write to it, and under which guard.

Every write is one atomic step that compares what it was decided on. Times are the live store's own, in milliseconds.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot, Pause, Versioned
from subgraph.domain.fleet.fleet_plan import FleetPlan
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId, version_of
from subgraph.domain.load_report import LoadColumns, LoadReport
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord

TILES_PER_COMMIT_MAX = 1_000
"""More in one script would block the store for long (300,000 do for a second)."""


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


class NotLeading(Exception):
    """The lease is held by somebody else, or a newer incarnation is in force: whatever was decided is void."""


class IncarnationBehind(Exception):
    """The store knows a higher incarnation than the one that was to begin: SQL was put back to an earlier state."""

    def __init__(self, incarnation: int) -> None:
        super().__init__(f"incarnation {incarnation} is in force in the live store")
        self.incarnation = incarnation


class LiveFleet(Protocol):
    """The fleet's live state. Every method raises Unavailable when the store does not answer.

    A store that was restarted, replaced or emptied may have forgotten what it answered. It raises Unavailable for every
    write but a renewal, until a leader begins a term there. Where it may have forgotten anything, an *era* begins with
    that term: every registration is void, and pods say anew what they hold.
    """

    def follow(self) -> AsyncIterator[FleetSnapshot | FleetChange | CycleReport]:
        """First a snapshot, then every change in order and the cycle reports.

        Raises:
            GapInChanges, SlowConsumer: something was missed; follow anew.
        """
        ...

    def follow_loads(self) -> AsyncIterator[LoadReading]:
        """Load reports, many at a time: those of the last seconds, then all to come. Malformed ones are set aside."""
        ...

    async def beat(self) -> Beat:
        """The pulse, as of one instant."""
        ...

    async def read_tiles(self, tile_ids: Sequence[TileId]) -> dict[TileId, Versioned[TileRecord]]:
        """The tiles' records as stored now; absent ones are not in the answer."""
        ...

    async def read_pod(self, pod_id: PodId) -> Versioned[PodRecord] | None:
        """A pod's record as stored now."""
        ...

    async def commit(
        self,
        guard: Guard,
        tiles: Sequence[TileWrite],
        pods: Sequence[PodWrite] = (),
        groups: Sequence[Sequence[TileWrite]] = (),
    ) -> Committed:
        """Write what still compares equal, as one change, and announce it. A group is written as a whole or not at all.

        In all at most TILES_PER_COMMIT_MAX tiles, each once; more are a ValueError.

        Raises:
            NotLeading: the guard is a Leadership that has ended.
            LeaseLost: the guard is a PodLease that is not in force.
            Unavailable: also when the store was emptied and no leader has set an incarnation yet.
        """
        ...

    async def require(self, session_id: SessionId, requirement: SessionRequirement | None) -> int:
        """Note what a session requires of all its tiles, unless that of a later revision is noted; None: forget it.

        Returns:
            The version of the change; 0 if there was nothing to write.

        Raises:
        """
        ...

    async def reserve_versions(self, leadership: Leadership, count: int, above: int = 0) -> int:
        """Reserve `count` consecutive versions as epochs, and return the first.

        Raises:
            NotLeading: the leadership has ended; or the store does not remember to have given out version `above`.
        """
        ...

    async def register_pod(
        self, pod_id: PodId, record: PodRecord, held: Mapping[TileId, int] = NOTHING_HELD
    ) -> tuple[int, PodRecord]:
        """Make the record's lease token the pod's one instance, with a fresh lease. The former instance is fenced.

        Of the tiles it holds, those at an epoch from before the era, or that the store never gave out, are kept as the
        pod's claims, until a leader has decided them or the pod claims anew.

        Returns:
            The version of the change, and the record with its times and era set by the store.
        """
        ...

    async def read_claims(self, pods_max: int) -> list[PodClaims]:
        """The claims of some pods that are not decided yet."""
        ...

    async def drop_claims(self, leadership: Leadership, claims: PodClaims) -> None:
        """Forget a pod's claims, which are decided, unless it has made others since.

        Raises:
            NotLeading: the leadership has ended.
        """
        ...

    async def declare_restored(self, leadership: Leadership) -> bool:
        """Remember that what was lost before the era is restored.

        Returns:
            Whether it is: not while a pod's claims are to be decided, which may have come a moment ago.

        Raises:
            NotLeading: the leadership has ended.
        """
        ...

    async def renew_lease(self, lease: PodLease, applied_version: int | None, loads: LoadReport | None = None) -> None:
        """Renew a pod's lease; with `loads`, append them to the load reports in the same step.

        Raises:
            Unavailable: also when reports come faster than they may; then the lease is renewed all the same.
            LeaseLost: the token is not that of the running instance, or the pod was declared lost.
        """
        ...

    async def end_pod(self, lease: PodLease, record: PodRecord) -> int:
        """Write the record of a pod that leaves, and forget its token and lease. Returns the change's version.

        Raises:
            LeaseLost: as above.
        """
        ...

    async def try_lead(self, name: str, token: str, lease_ms: int) -> bool:
        """Take the leader's lease if it is free or already the token's. Leading begins with `begin_term`."""
        ...

    async def begin_term(self, leadership: Leadership, seen_version: int = 0) -> bool:
        """Put a raised incarnation in force: from here on every version and epoch is above all before.

        An era begins with it if the store was restarted, replaced or emptied since the last term began, or if it does
        not know a version that was seen.

        Returns:
            Whether an era began.

        Raises:
            NotLeading: the lease was lost meanwhile.
            IncarnationBehind: the store knows this incarnation or a higher one.
        """
        ...

    async def keep_leading(self, leadership: Leadership, lease_ms: int) -> None:
        """Renew the leader's lease.

        Raises:
            NotLeading: it has ended.
        """
        ...

    async def stop_leading(self, leadership: Leadership) -> None:
        """Give the lease up, so that another process need not wait for its end. Harmless when it has ended."""
        ...

    async def keep_plan(self, plan: FleetPlan) -> None:
        """Keep a plan until it expires, for any process to read."""
        ...

    async def read_plan(self, plan_id: str) -> FleetPlan | None:
        """A plan that was kept, or None once it has expired."""
        ...

    async def ask_leader(self, request: bytes, timeout_seconds: float) -> bytes | None:
        """Hand a request to whoever leads, and wait for the answer; None: it did not come in time."""
        ...

    async def take_requests(self, leadership: Leadership, requests_max: int) -> list[tuple[str, bytes]]:
        """Requests to the leader with their ids, each taken once; those whose caller has given up are left out.

        Raises:
            NotLeading: the leadership has ended; no request was taken.
        """
        ...

    async def answer_request(self, request_id: str, answer: bytes) -> None:
        """Answer a request taken before."""
        ...

    async def set_pause(self, pause: Pause | None) -> None:
        """Let rebalancing rest until the pause is over by itself; None: end it now."""
        ...

    async def announce_cycle(self, leadership: Leadership, report: CycleReport) -> None:
        """Tell every process of a finished cycle, and keep the report for those that start later.

        Raises:
            NotLeading: the leadership has ended.
        """
        ...
