"""Owns the promise about the fleet's live state: what any process may ask of it and write to it, and under which guard.

Every write is one atomic step that compares what it was decided on. Times are the live store's own, in milliseconds.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot, Pause, Versioned
from subgraph.domain.fleet.fleet_plan import FleetPlan, KeyedPlan
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.load_report import LoadReport
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord
from subgraph.operations.fleet.fleet_pulse import NOTHING_HELD, Beat, LoadReading, PodClaims
from subgraph.operations.fleet.fleet_writes import Committed, Guard, Leadership, PodLease, PodWrite, TileWrite


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

    async def begin_keyed_plan(
        self, leadership: Leadership, key: str, keyed: KeyedPlan, kept_ms: int
    ) -> KeyedPlan | None:
        """Remember a plan for a key, before anything of it is carried out; or return the one remembered for it before.

        Of the last `KEYED_PLANS_MAX` keys none is forgotten before its time.

        Raises:
            NotLeading: the leadership has ended.
        """
        ...

    async def end_keyed_plan(self, key: str, keyed: KeyedPlan) -> None:
        """Remember that a key's plan is carried out; nothing, if it has been forgotten."""
        ...

    async def read_keyed_plan(self, key: str) -> KeyedPlan | None:
        """What is remembered for a key."""
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
