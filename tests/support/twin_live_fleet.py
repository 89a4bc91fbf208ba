"""Owns the LiveFleet port on the store's twin: as many round trips as the adapter makes, and whatever comes between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Protocol, TypeVar

import msgspec

from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot, Pause, Versioned
from subgraph.domain.fleet.fleet_plan import FleetPlan, KeyedPlan
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.load_report import LoadReport, join_reports
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord
from subgraph.operations.broadcast import Broadcast
from subgraph.operations.fleet.fleet_pulse import NOTHING_HELD, Beat, LoadReading, PodClaims, claims_among
from subgraph.operations.fleet.fleet_writes import (
    TILES_PER_COMMIT_MAX,
    Committed,
    Guard,
    Leadership,
    NotLeading,
    PodLease,
    PodWrite,
    TileWrite,
)
from tests.support.store_twin import Hears, StoreTwin, Told

T = TypeVar("T")

CHANGES_BUFFERED_MAX = 20_000
LOAD_REPORTS_REPLAYED_MS = 5_000
TILES_PER_SCAN = 5
POLL_SECONDS = 1.0
"""How often the twin looks where Redis would wait: for load reports, and for an answer of the leader."""


class Transport(Protocol):
    """What lies between a process and the store."""

    async def carry(self, step: Callable[[], T]) -> T:
        """Have a step done by the store, and its answer brought back.

        Raises:
            Unavailable: no answer came; whether the step was done is not known.
        """
        ...

    def listen(self, hears: Hears) -> AbstractAsyncContextManager[None]:
        """Have everything heard that the store publishes from entry to exit, unless it gets lost."""
        ...


class Nearby:
    """A store in this very process: nothing comes between but others' turns."""

    def __init__(self, store: StoreTwin) -> None:
        self._store = store

    async def carry(self, step: Callable[[], T]) -> T:
        """Have it done."""
        await asyncio.sleep(0)
        done = step()
        await asyncio.sleep(0)
        return done

    @asynccontextmanager
    async def listen(self, hears: Hears) -> AsyncIterator[None]:
        """Hear everything."""
        self._store.listeners[hears] = None
        try:
            yield
        finally:
            self._store.listeners.pop(hears, None)


class TwinLiveFleet:
    """The LiveFleet port on the twin of one Redis."""

    def __init__(self, store: StoreTwin, transport: Transport) -> None:
        self._store = store
        self._transport = transport
        self._asked = 0

    async def follow(self) -> AsyncIterator[FleetSnapshot | FleetChange | CycleReport]:
        """First a snapshot, then every change in order and the cycle reports."""
        broadcast: Broadcast[Told] = Broadcast()
        with broadcast.reader(CHANGES_BUFFERED_MAX) as messages:
            async with self._transport.listen(broadcast.send):
                snapshot = await self._snapshot()
                yield snapshot
                async for told in messages:
                    if isinstance(told, CycleReport) or told.version > snapshot.version:
                        yield told

    async def _snapshot(self) -> FleetSnapshot:
        # What is committed between two of these steps may be in the snapshot, and comes again as a change.
        store, carry = self._store, self._transport.carry
        version, era = await carry(lambda: (store.stored.published, store.stored.era))
        pods = await carry(lambda: dict(store.stored.pods))
        requirements = await carry(lambda: dict(store.stored.requirements))
        tiles: dict[TileId, Versioned[TileRecord]] = {}
        names: list[TileId] | None = None
        while names is None or names:
            found, names = await carry(partial(_scan, store, names))
            tiles |= found
        read_until = await carry(lambda: store.stored.published)
        return FleetSnapshot(version, tiles, pods, requirements, era, read_until)

    async def follow_loads(self) -> AsyncIterator[LoadReading]:
        """Load reports, many at a time: those of the last seconds, then all to come."""
        after_ms, seen = (await self.beat()).now_ms - LOAD_REPORTS_REPLAYED_MS, 0
        while True:
            loads = await self._transport.carry(lambda: self._store.stored.loads)
            reports = [entry for entry in loads if entry[0] >= after_ms]
            new = reports[seen:] if len(reports) >= seen else reports  # another run of the store may have fewer
            if new:
                newest = new[-1][0]
                after_ms, seen = newest, sum(at_ms == newest for at_ms, _ in reports)
                yield LoadReading(join_reports(new)[0])
            await asyncio.sleep(POLL_SECONDS)

    async def beat(self) -> Beat:
        """The pulse, as of one instant."""
        return await self._transport.carry(self._store.beat)

    async def read_tiles(self, tile_ids: Sequence[TileId]) -> dict[TileId, Versioned[TileRecord]]:
        """The tiles' records as stored now."""
        if not tile_ids:
            return {}
        tiles = self._store
        return await self._transport.carry(
            lambda: {one: tiles.stored.tiles[one] for one in tile_ids if one in tiles.stored.tiles}
        )

    async def read_pod(self, pod_id: PodId) -> Versioned[PodRecord] | None:
        """A pod's record as stored now."""
        return await self._transport.carry(lambda: self._store.stored.pods.get(pod_id))

    async def commit(
        self,
        guard: Guard,
        tiles: Sequence[TileWrite],
        pods: Sequence[PodWrite] = (),
        groups: Sequence[Sequence[TileWrite]] = (),
    ) -> Committed:
        """Write what still compares equal, as one change, and announce it; of a group all, or nothing."""
        writes = [*tiles, *(one for group in groups for one in group)]
        if len(writes) > TILES_PER_COMMIT_MAX:
            raise ValueError(f"at most {TILES_PER_COMMIT_MAX} tiles a commit, not {len(writes)}")
        if len({one.tile_id for one in writes}) < len(writes):
            raise ValueError("a commit writes a tile once")
        return await self._transport.carry(lambda: self._store.commit(guard, tiles, pods, groups))

    async def require(self, session_id: SessionId, requirement: SessionRequirement | None) -> int:
        """Note what a session requires of all its tiles."""
        return await self._transport.carry(lambda: self._store.require(session_id, requirement))

    async def reserve_versions(self, leadership: Leadership, count: int, above: int = 0) -> int:
        """Reserve `count` consecutive versions as epochs, and return the first."""
        return await self._transport.carry(lambda: self._store.reserve(leadership, count, above))

    async def register_pod(
        self, pod_id: PodId, record: PodRecord, held: Mapping[TileId, int] = NOTHING_HELD
    ) -> tuple[int, PodRecord]:
        """Make the record's lease token the pod's one instance, with a fresh lease; keep what it claims."""
        beat = await self.beat()
        times = {"registered_at_ms": beat.now_ms, "status_at_ms": beat.now_ms}
        stamped = msgspec.structs.replace(record, **times, era=beat.era)
        claims = claims_among(held, beat)
        return await self._transport.carry(lambda: self._store.register_pod(pod_id, stamped, claims)), stamped

    async def read_claims(self, pods_max: int) -> list[PodClaims]:
        """The claims of some pods that are not decided yet."""
        claims = await self._transport.carry(lambda: dict(self._store.stored.claims))
        return [claims[pod_id] for pod_id in sorted(claims)[:pods_max]]

    async def drop_claims(self, leadership: Leadership, claims: PodClaims) -> None:
        """A pod's claims are decided, unless it has made others since."""
        await self._transport.carry(lambda: self._store.drop_claims(leadership, claims))

    async def declare_restored(self, leadership: Leadership) -> bool:
        """What was lost before the era is restored, as far as it can be, unless a pod's claims are to be decided."""
        return await self._transport.carry(lambda: self._store.declare_restored(leadership))

    async def renew_lease(self, lease: PodLease, applied_version: int | None, loads: LoadReport | None = None) -> None:
        """Renew a pod's lease; with `loads`, append them to the load reports in the same step."""
        await self._transport.carry(lambda: self._store.renew_lease(lease, applied_version, loads))

    async def end_pod(self, lease: PodLease, record: PodRecord) -> int:
        """Write the record of a pod that leaves, and forget its token and lease."""
        return await self._transport.carry(lambda: self._store.end_pod(lease, record))

    async def try_lead(self, name: str, token: str, lease_ms: int) -> bool:
        """Take the leader's lease if it is free or already the token's."""
        return await self._transport.carry(lambda: self._store.try_lead(name, token, lease_ms))

    async def begin_term(self, leadership: Leadership, seen_version: int = 0) -> bool:
        """Put a raised incarnation in force, and begin an era where the store may have forgotten anything."""
        return await self._transport.carry(lambda: self._store.begin_term(leadership, seen_version))

    async def keep_leading(self, leadership: Leadership, lease_ms: int) -> None:
        """Renew the leader's lease."""
        await self._transport.carry(lambda: self._store.keep_leading(leadership, lease_ms))

    async def stop_leading(self, leadership: Leadership) -> None:
        """Give the lease up."""
        with suppress(NotLeading):
            await self.keep_leading(leadership, 0)

    async def keep_plan(self, plan: FleetPlan) -> None:
        """Keep a plan until it expires."""
        await self._transport.carry(lambda: self._store.keep_plan(plan))

    async def read_plan(self, plan_id: str) -> FleetPlan | None:
        """A plan that was kept, or None once it has expired."""
        return await self._transport.carry(lambda: self._store.read_plan(plan_id))

    async def begin_keyed_plan(
        self, leadership: Leadership, key: str, keyed: KeyedPlan, kept_ms: int
    ) -> KeyedPlan | None:
        """Remember a plan for a key, or return the one remembered for it before."""
        return await self._transport.carry(lambda: self._store.begin_keyed_plan(leadership, key, keyed, kept_ms))

    async def end_keyed_plan(self, key: str, keyed: KeyedPlan) -> None:
        """Remember that a key's plan is carried out."""
        await self._transport.carry(lambda: self._store.end_keyed_plan(key, keyed))

    async def read_keyed_plan(self, key: str) -> KeyedPlan | None:
        """What is remembered for a key."""
        return await self._transport.carry(lambda: self._store.read_keyed_plan(key))

    async def ask_leader(self, request: bytes, timeout_seconds: float) -> bytes | None:
        """Hand a request to whoever leads, and wait for the answer."""
        deadline_ms = (await self.beat()).now_ms + int(timeout_seconds * 1_000)
        request_id = await self._transport.carry(lambda: self._store.put_request(request, deadline_ms))
        clock = asyncio.get_running_loop().time
        give_up_at = clock() + timeout_seconds
        while clock() < give_up_at:
            answer = await self._transport.carry(lambda: self._store.answers.pop(request_id, None))
            if answer is not None:
                return answer
            await asyncio.sleep(min(POLL_SECONDS, max(0.0, give_up_at - clock())))
        return None

    async def take_requests(self, leadership: Leadership, requests_max: int) -> list[tuple[str, bytes]]:
        """Requests to the leader with their ids, each taken once."""
        return await self._transport.carry(lambda: self._store.take_requests(leadership, requests_max))

    async def answer_request(self, request_id: str, answer: bytes) -> None:
        """Answer a request taken before."""
        await self._transport.carry(lambda: self._store.answers.update({request_id: answer}))

    async def set_pause(self, pause: Pause | None) -> None:
        """Let rebalancing rest until the pause is over by itself; None: end it now."""
        await self._transport.carry(lambda: setattr(self._store.stored, "pause", pause))

    async def announce_cycle(self, leadership: Leadership, report: CycleReport) -> None:
        """Tell every process of a finished cycle, and keep the report."""
        await self._transport.carry(lambda: self._store.announce_cycle(leadership, report))


def _scan(store: StoreTwin, names: list[TileId] | None) -> tuple[dict[TileId, Versioned[TileRecord]], list[TileId]]:
    """The next tiles, each as it is now, and the names of those still to come; tiles added meanwhile may be missed."""
    left = sorted(store.stored.tiles) if names is None else names
    now, later = left[:TILES_PER_SCAN], left[TILES_PER_SCAN:]
    return {one: store.stored.tiles[one] for one in now if one in store.stored.tiles}, later
