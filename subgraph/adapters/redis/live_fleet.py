"""Owns the fleet's live state in Redis: translates the port's calls into scripts, and what they return into values."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, cast

import msgspec
from redis.asyncio import Redis

from subgraph.adapters.redis import codec
from subgraph.adapters.redis.claims import pack_claims, read_claims
from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.fleet_scripts import FleetScripts, guard_arguments, told_as_lease_lost
from subgraph.adapters.redis.keys import fleet_key, fleet_keys
from subgraph.adapters.redis.leader_requests import LeaderRequests, open_requests
from subgraph.adapters.redis.load_reports import RedisLoadReports
from subgraph.domain.fleet.changes import CycleReport, FleetChange, FleetSnapshot, Pause, Versioned
from subgraph.domain.fleet.fleet_plan import FleetPlan, KeyedPlan
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.load_report import LoadReport
from subgraph.domain.ownership import TileRecord
from subgraph.domain.pods import PodRecord
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

logger = logging.getLogger(__name__)

CHANGES_BUFFERED_MAX = 20_000
TILES_PER_SCAN = 2_000
UNRECORDED_CHANGES_MAX = 200_000
"""About 50 MB: what history can catch up with after SQL was away. The oldest of more are dropped, and counted."""


KEYED_PLANS_MAX = 1_000
"""Plans remembered for clients' keys at a time; the oldest of more are forgotten."""


class RedisLiveFleet:
    """The LiveFleet port on one Redis and one fleet id."""

    def __init__(
        self, redis: Redis, bus: RedisEventBus, fleet_id: str, unrecorded_changes_max: int = UNRECORDED_CHANGES_MAX
    ) -> None:
        self._redis = redis
        self._bus = bus
        self._fleet_id = fleet_id
        self._unrecorded_changes_max = unrecorded_changes_max
        self._keys = fleet_keys(fleet_id)
        self._requests = LeaderRequests(redis, self._key)
        self._reports = RedisLoadReports(redis, self._key)
        by_name = {key.rpartition(":")[2]: key for key in self._keys}
        self._meta, self._tiles, self._pods = by_name["meta"], by_name["tiles"], by_name["pods"]
        self._channel = by_name["changes"]
        self._requirements = by_name["requirements"]
        self._run = FleetScripts(redis, self._keys).run

    async def follow(self) -> AsyncIterator[FleetSnapshot | FleetChange | CycleReport]:
        """First a snapshot, then every change in order and the cycle reports."""
        async with self._bus.subscribe(self._channel, CHANGES_BUFFERED_MAX) as messages:
            snapshot = await self._snapshot()
            yield snapshot
            async for message in messages:
                try:
                    told = codec.decode_message(message)
                except codec.Unreadable as error:
                    # If it was a change, the next one shows the gap, or the pulse does.
                    logger.warning("a message about the fleet is passed over: %s", error)
                    continue
                if isinstance(told, CycleReport) or told.version > snapshot.version:
                    yield told

    async def _snapshot(self) -> FleetSnapshot:
        with told_as_unavailable():
            # The version is read first: what is committed while the rest is read comes again as a change.
            published, era = await _answer(self._redis.hmget(self._meta, ["published", "era"]))
            pods = await _answer(self._redis.hgetall(self._pods))
            required = await _answer(self._redis.hgetall(self._requirements))
            tiles: dict[TileId, Versioned[TileRecord]] = {}
            async for tile_id, stored in self._redis.hscan_iter(self._tiles, count=TILES_PER_SCAN):
                tiles[TileId(tile_id.decode())] = codec.decode_tile(stored)
            read_until = await _answer(self._redis.hget(self._meta, "published"))
        return FleetSnapshot(
            int(published or 0),
            tiles,
            {PodId(pod_id.decode()): codec.decode_pod(stored) for pod_id, stored in pods.items()},
            {SessionId(one.decode()): codec.decode_requirement(stored) for one, stored in required.items()},
            int(era or 0),
            int(read_until or 0),
        )

    async def follow_loads(self) -> AsyncGenerator[LoadReading, None]:
        """Load reports, many at a time: those of the last seconds, then all to come."""
        async for reading in self._reports.follow((await self.beat()).now_ms):
            yield reading

    async def beat(self) -> Beat:
        """The pulse, as of one instant."""
        return codec.decode_beat(await self._run("beat"))

    async def read_tiles(self, tile_ids: Sequence[TileId]) -> dict[TileId, Versioned[TileRecord]]:
        """The tiles' records as stored now; absent ones are not in the answer."""
        if not tile_ids:
            return {}
        with told_as_unavailable():
            stored = await _answer(self._redis.hmget(self._tiles, cast("list[str]", list(tile_ids))))
        return {
            tile_id: codec.decode_tile(raw) for tile_id, raw in zip(tile_ids, stored, strict=True) if raw is not None
        }

    async def read_pod(self, pod_id: PodId) -> Versioned[PodRecord] | None:
        """A pod's record as stored now."""
        with told_as_unavailable():
            stored = await _answer(self._redis.hget(self._pods, pod_id))
        return None if stored is None else codec.decode_pod(stored)

    async def commit(
        self,
        guard: Guard,
        tiles: Sequence[TileWrite],
        pods: Sequence[PodWrite] = (),
        groups: Sequence[Sequence[TileWrite]] = (),
    ) -> Committed:
        """Write what still compares equal, as one change, and announce it; of a group all, or nothing."""
        grouped = [(0, tile) for tile in tiles]
        grouped += [(number, tile) for number, group in enumerate(groups, 1) for tile in group]
        if len(grouped) > TILES_PER_COMMIT_MAX:
            raise ValueError(f"at most {TILES_PER_COMMIT_MAX} tiles a commit, not {len(grouped)}")
        if len({tile.tile_id for _, tile in grouped}) < len(grouped):
            raise ValueError("a commit writes a tile once")
        arguments: list[str | bytes | int] = [*guard_arguments(guard), self._unrecorded_changes_max, len(pods)]
        for pod in pods:
            arguments += [pod.pod_id, pod.expected, int(pod.if_lease_ended), codec.encode_record(pod.record)]
        for number, tile in grouped:
            arguments += [tile.tile_id, tile.expected, codec.encode_record(tile.record), number, tile.lost_owner or ""]
        with told_as_lease_lost(guard):
            version, pod_conflicts, tile_conflicts = await self._run("commit", arguments)
        return Committed(
            int(version),
            frozenset(TileId(tile_id.decode()) for tile_id in tile_conflicts),
            frozenset(PodId(pod_id.decode()) for pod_id in pod_conflicts),
        )

    async def require(self, session_id: SessionId, requirement: SessionRequirement | None) -> int:
        """Note what a session requires of all its tiles, unless that of a later revision is noted; None: forget it."""
        revision = 0 if requirement is None else requirement.revision
        return int(await self._run("require", [session_id, revision, codec.encode_record(requirement)]))

    async def reserve_versions(self, leadership: Leadership, count: int, above: int = 0) -> int:
        """Reserve `count` consecutive versions as epochs, and return the first."""
        return int(await self._run("reserve", [leadership.incarnation, leadership.token, count, above]))

    async def register_pod(
        self, pod_id: PodId, record: PodRecord, held: Mapping[TileId, int] = NOTHING_HELD
    ) -> tuple[int, PodRecord]:
        """Make the record's lease token the pod's one instance, with a fresh lease; keep what it claims."""
        beat = await self.beat()
        stamped = msgspec.structs.replace(record, registered_at_ms=beat.now_ms, status_at_ms=beat.now_ms, era=beat.era)
        arguments: list[str | bytes | int] = [pod_id, record.lease_token, record.lease_ms, codec.encode_record(stamped)]
        arguments += [beat.era, pack_claims(claims_among(held, beat))]
        return int(await self._run("register_pod", arguments)), stamped

    async def read_claims(self, pods_max: int) -> list[PodClaims]:
        """The claims of some pods that are not decided yet."""
        return await read_claims(self._redis, self._key("claims"), pods_max)

    async def drop_claims(self, leadership: Leadership, claims: PodClaims) -> None:
        """A pod's claims are decided, unless it has made others since."""
        await self._run("drop_claims", [leadership.incarnation, leadership.token, claims.pod_id, claims.version])

    async def declare_restored(self, leadership: Leadership) -> bool:
        """What was lost before the era is restored, as far as it can be, unless a pod's claims are to be decided."""
        return bool(await self._run("declare_restored", [leadership.incarnation, leadership.token]))

    async def renew_lease(self, lease: PodLease, applied_version: int | None, loads: LoadReport | None = None) -> None:
        """Renew a pod's lease; with `loads`, append them to the load reports in the same step."""
        with told_as_lease_lost(lease):
            await self._reports.renew(lease, applied_version, loads)

    async def end_pod(self, lease: PodLease, record: PodRecord) -> int:
        """Write the record of a pod that leaves, and forget its token and lease."""
        with told_as_lease_lost(lease):
            return int(await self._run("end_pod", [lease.pod_id, lease.token, codec.encode_record(record)]))

    async def try_lead(self, name: str, token: str, lease_ms: int) -> bool:
        """Take the leader's lease if it is free or already the token's."""
        return bool(await self._run("try_lead", [token, name, lease_ms]))

    async def begin_term(self, leadership: Leadership, seen_version: int = 0) -> bool:
        """Put a raised incarnation in force, and begin an era where the store may have forgotten anything."""
        return bool(await self._run("begin_term", [leadership.incarnation, leadership.token, seen_version]))

    async def keep_leading(self, leadership: Leadership, lease_ms: int) -> None:
        """Renew the leader's lease."""
        await self._run("keep_leading", [leadership.incarnation, leadership.token, lease_ms])

    async def stop_leading(self, leadership: Leadership) -> None:
        """Give the lease up."""
        try:
            await self._run("keep_leading", [leadership.incarnation, leadership.token, 0])
        except NotLeading:
            return

    async def keep_plan(self, plan: FleetPlan) -> None:
        """Keep a plan until it expires."""
        lifetime_ms = max(1, plan.expires_at_ms - plan.created_at_ms)
        with told_as_unavailable():
            await self._redis.set(self._key(f"plan:{plan.id}"), msgspec.msgpack.encode(plan), px=lifetime_ms)

    async def read_plan(self, plan_id: str) -> FleetPlan | None:
        """A plan that was kept, or None once it has expired."""
        with told_as_unavailable():
            stored = await self._redis.get(self._key(f"plan:{plan_id}"))
        return None if stored is None else codec.decode_plan(cast("bytes", stored))

    async def begin_keyed_plan(
        self, leadership: Leadership, key: str, keyed: KeyedPlan, kept_ms: int
    ) -> KeyedPlan | None:
        """Remember a plan for a key, or return the one remembered for it before."""
        arguments: list[str | bytes | int] = [leadership.incarnation, leadership.token, self._key(f"plan-of:{key}")]
        arguments += [msgspec.msgpack.encode(keyed), kept_ms, self._key("plans-of-keys"), KEYED_PLANS_MAX]
        before = await self._run("begin_keyed_plan", arguments)
        return None if before is None else codec.decode_keyed_plan(before)

    async def end_keyed_plan(self, key: str, keyed: KeyedPlan) -> None:
        """Remember that a key's plan is carried out."""
        done = msgspec.msgpack.encode(msgspec.structs.replace(keyed, is_done=True))
        with told_as_unavailable():
            await self._redis.set(self._key(f"plan-of:{key}"), done, xx=True, keepttl=True)

    async def read_keyed_plan(self, key: str) -> KeyedPlan | None:
        """What is remembered for a key."""
        with told_as_unavailable():
            stored = await self._redis.get(self._key(f"plan-of:{key}"))
        return None if stored is None else codec.decode_keyed_plan(cast("bytes", stored))

    async def ask_leader(self, request: bytes, timeout_seconds: float) -> bytes | None:
        """Hand a request to whoever leads, and wait for the answer."""
        return await self._requests.ask(request, (await self.beat()).now_ms, timeout_seconds)

    async def take_requests(self, leadership: Leadership, requests_max: int) -> list[tuple[str, bytes]]:
        """Requests to the leader with their ids, each taken once."""
        arguments: list[str | bytes | int] = [leadership.incarnation, leadership.token]
        arguments += [self._key("requests"), requests_max]
        now_ms, *taken = await self._run("take_requests", arguments)
        return open_requests(taken, int(now_ms))

    async def answer_request(self, request_id: str, answer: bytes) -> None:
        """Answer a request taken before."""
        await self._requests.answer(request_id, answer)

    async def set_pause(self, pause: Pause | None) -> None:
        """Let rebalancing rest until the pause is over by itself; None: end it now."""
        with told_as_unavailable():
            if pause is None:
                await self._redis.delete(self._key("pause"))
            else:
                await self._redis.set(self._key("pause"), msgspec.json.encode(pause), pxat=pause.until_ms)

    async def announce_cycle(self, leadership: Leadership, report: CycleReport) -> None:
        """Tell every process of a finished cycle, and keep the report."""
        await self._run("announce_cycle", [leadership.incarnation, leadership.token, msgspec.json.encode(report)])

    def _key(self, name: str) -> str:
        return fleet_key(self._fleet_id, name)


async def _answer(reply: Awaitable[Any] | Any) -> Any:
    # redis-py types its commands for the blocking and the asyncio client at once.
    return await reply
