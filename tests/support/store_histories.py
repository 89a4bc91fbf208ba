"""Owns random histories of a live store and its twin: each step is done to both, and both must say the same of it."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec

from subgraph.adapters.redis import codec
from subgraph.adapters.redis.keys import fleet_key, fleet_keys
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.domain.errors import LeaseLost, Unavailable
from subgraph.domain.fleet.changes import CycleReport
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import PodId, SessionId, TileId
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.fleet_writes import (
    IncarnationBehind,
    Leadership,
    NotLeading,
    PodLease,
    PodWrite,
    TileWrite,
)
from subgraph.operations.fleet.live_fleet import LiveFleet
from tests.support.clocked_redis import ClockedRedis
from tests.support.fleets import SESSION, A, B, C, held, packed, pod, report, tile, tile_ids
from tests.support.store_twin import Stored, StoreTwin
from tests.support.twin_live_fleet import TwinLiveFleet

PODS = (A, B, C)
TILES = tile_ids(6)
LEADER_LEASE_MS = 10_000_000
"""Longer than any test: where the lease ends is a step of the history."""
BEGINS_AT_MS = 1_700_000_000_000


@dataclass(slots=True)
class Both:
    """A real store and its twin at one time of one run, and what a history knows of them."""

    chance: random.Random
    redis: ClockedRedis
    fleet_id: str
    real: RedisLiveFleet
    twin: StoreTwin
    port: TwinLiveFleet
    now_ms: int = BEGINS_AT_MS
    incarnation: int = 0
    leaderships: list[Leadership] = field(default_factory=lambda: [Leadership(1, "never-led")])
    tokens: list[str] = field(default_factory=lambda: ["never-registered"])

    def key(self, name: str) -> str:
        """A key of the fleet."""
        return fleet_key(self.fleet_id, name)

    async def do(self, call: Callable[[LiveFleet], Awaitable[Any]]) -> Any:
        """Have both do the same, and say the same."""
        said, twin_said = await _said(call(self.real)), await _said(call(self.port))
        assert said == twin_said
        return said

    async def pass_time(self, ms: int, run_id: str | None = None) -> None:
        """Let time pass on both; with another run the server was restarted."""
        self.now_ms += ms
        if run_id is not None:
            self.twin.run_id = run_id
        await self.redis.set_clock(self.now_ms, self.twin.run_id)

    async def state(self) -> dict[str, Any]:
        """All that is kept in Redis, as the twin keeps it."""
        redis: Any = self.redis
        meta = {name.decode(): value.decode() for name, value in (await redis.hgetall(self.key("meta"))).items()}
        tiles, pods = await redis.hgetall(self.key("tiles")), await redis.hgetall(self.key("pods"))
        tokens, leases = (
            await redis.hgetall(self.key("tokens")),
            await redis.zrange(self.key("leases"), 0, -1, withscores=True),
        )
        leader, cycle = await redis.get(self.key("leader")), await redis.get(self.key("cycle"))
        loads = await redis.xrange(self.key("loads"))
        return {
            "incarnation": int(meta["incarnation"]) if "incarnation" in meta else None,
            "run_id": meta.get("run_id", ""),
            "counter": int(meta.get("counter", 0)),
            "published": int(meta.get("published", 0)),
            "era": int(meta.get("era", 0)),
            "restored": int(meta["restored"]) if "restored" in meta else None,
            "tiles": {TileId(name.decode()): codec.decode_tile(one) for name, one in tiles.items()},
            "pods": {PodId(name.decode()): codec.decode_pod(one) for name, one in pods.items()},
            "tokens": {PodId(name.decode()): _token(one) for name, one in tokens.items()},
            "leases": {PodId(name.decode()): int(ends) for name, ends in leases},
            "applied": {PodId(k.decode()): int(v) for k, v in (await redis.hgetall(self.key("applied"))).items()},
            "claims": {one.pod_id: one for one in await self.real.read_claims(len(PODS))},
            "leader": tuple(leader.decode().split("|")) if leader else None,
            "cycle": msgspec.json.decode(cycle, type=CycleReport) if cycle else None,
            "requirements": {
                SessionId(name.decode()): codec.decode_requirement(one)
                for name, one in (await redis.hgetall(self.key("requirements"))).items()
            },
            "loads": [fields[b"pod"].decode() for _, fields in loads],
        }

    def twin_state(self) -> dict[str, Any]:
        """All that the twin keeps."""
        stored = self.twin.stored
        state = {
            name: getattr(stored, name) for name in ("incarnation", "run_id", "counter", "published", "era", "restored")
        }
        state |= {
            name: getattr(stored, name) for name in ("tiles", "pods", "tokens", "leases", "applied", "claims", "cycle")
        }
        leader = (stored.leader.token, stored.leader.name) if stored.leader else None
        loads = [one.pod_id for _, one in stored.loads]
        return state | {"leader": leader, "requirements": stored.requirements, "loads": loads}


async def time_passes(both: Both) -> None:
    await both.pass_time(both.chance.choice((1, 200, 900, 4_000)))


async def store_restarts(both: Both) -> None:
    if both.chance.random() < 0.3:
        await both.pass_time(0, f"run{both.chance.randrange(3)}")


async def somebody_tries_to_lead(both: Both) -> None:
    token = f"leader{both.chance.randrange(3)}"
    if await both.do(lambda live: live.try_lead(token, token, LEADER_LEASE_MS)) is not True:
        return
    both.incarnation += both.chance.choice((0, 1, 1, 1))
    leadership = Leadership(both.incarnation, token)
    seen = both.twin.stored.published + both.chance.choice((0, 0, 1))
    await both.do(lambda live: live.begin_term(leadership, seen))
    both.leaderships.append(leadership)


async def lease_ends(both: Both) -> None:
    await both.redis.delete(both.key("leader"))
    both.twin.stored.leader = None


async def leader_goes_on(both: Both) -> None:
    leadership = _newest(both, both.leaderships)
    await both.do(lambda live: live.keep_leading(leadership, LEADER_LEASE_MS))


async def leader_gives_up(both: Both) -> None:
    leadership = both.chance.choice(both.leaderships)
    await both.do(lambda live: live.stop_leading(leadership))


async def epochs_are_reserved(both: Both) -> None:
    leadership, count = _newest(both, both.leaderships), both.chance.randint(1, 5)
    above = both.twin.stored.published + both.chance.choice((0, 0, 10**6))
    await both.do(lambda live: live.reserve_versions(leadership, count, above))


async def cycle_is_announced(both: Both) -> None:
    leadership, cycle = _newest(both, both.leaderships), CycleReport(both.chance.randrange(9), "x", both.now_ms, 1.0)
    await both.do(lambda live: live.announce_cycle(leadership, cycle))


async def pod_registers(both: Both) -> None:
    pod_id, token = both.chance.choice(PODS), f"token{len(both.tokens)}"
    both.tokens.append(token)
    published = both.twin.stored.published
    held_at = (1, max(1, both.twin.stored.era << 32), published, published + 1)
    holds = {one: both.chance.choice(held_at) for one in both.chance.sample(TILES, both.chance.randint(0, 2))}
    await both.do(lambda live: live.register_pod(pod_id, pod(lease_token=token, lease_ms=1_000), holds))


async def pod_renews(both: Both) -> None:
    lease, applied = _lease(both), both.chance.choice((None, 7, 2**53 - 1))
    loads = packed(report(lease.pod_id, {TILES[0]: 1.0})) if both.chance.random() < 0.5 else None
    await both.do(lambda live: live.renew_lease(lease, applied, loads))


async def pod_leaves(both: Both) -> None:
    lease = _lease(both)
    await both.do(lambda live: live.end_pod(lease, pod(status=PodStatus.GONE)))


async def claims_are_decided(both: Both) -> None:
    leadership, waiting = _newest(both, both.leaderships), list(both.twin.stored.claims.values())
    if waiting:
        claims = both.chance.choice(waiting)
        decided = replace(claims, version=claims.version - (both.chance.random() < 0.3))
        await both.do(lambda live: live.drop_claims(leadership, decided))


async def all_is_restored(both: Both) -> None:
    leadership = _newest(both, both.leaderships)
    await both.do(lambda live: live.declare_restored(leadership))


async def somebody_writes(both: Both) -> None:
    chance, stored = both.chance, both.twin.stored
    guard = chance.choice((None, _newest(both, both.leaderships), _lease(both)))
    chosen = chance.sample(TILES, chance.randint(0, len(TILES)))
    writes = []
    for one in chosen:
        found = stored.tiles.get(one)
        record = None if chance.random() < 0.2 else tile(owner=held(chance.choice(PODS), chance.randint(1, 2**40)))
        lost = chance.choice(PODS) if chance.random() < 0.3 else None
        writes.append(TileWrite(one, (found.version if found else 0) + (chance.random() < 0.1), record, lost))
    first, second = sorted(chance.randint(0, len(writes)) for _ in range(2))
    pods = []
    for pod_id in chance.sample(PODS, chance.randint(0, 2)):
        known = stored.pods.get(pod_id)
        written = None if chance.random() < 0.2 else pod(status=chance.choice(list(PodStatus)))
        expected = (known.version if known else 0) + (chance.random() < 0.1)
        pods.append(PodWrite(pod_id, expected, written, if_lease_ended=chance.random() < 0.5))
    groups = [writes[first:second], writes[second:]]
    await both.do(lambda live: live.commit(guard, writes[:first], pods, groups))


async def request_comes(both: Both) -> None:
    request = (f"request{both.now_ms}", both.now_ms + both.chance.choice((0, 1_000)), b"what is asked")
    both.twin.stored.requests.append(request)
    await cast(Any, both.redis).rpush(both.key("requests"), msgspec.msgpack.encode(request))


async def leader_takes_requests(both: Both) -> None:
    leadership = _newest(both, both.leaderships)
    await both.do(lambda live: live.take_requests(leadership, 2))


async def store_is_emptied(both: Both) -> None:
    if both.chance.random() < 0.2:
        await both.redis.delete(*fleet_keys(both.fleet_id), both.key("requests"), both.key("intake"))
        both.twin.stored = Stored()
        await both.pass_time(0, f"run{both.chance.randrange(3)}")


async def session_requires(both: Both) -> None:
    requirement = SessionRequirement(both.chance.randint(1, 4), {"gpu": "yes"}) if both.chance.random() < 0.7 else None
    await both.do(lambda live: live.require(SESSION, requirement))


HAPPENINGS: list[Callable[[Both], Awaitable[None]]] = [
    time_passes,
    time_passes,
    store_restarts,
    somebody_tries_to_lead,
    somebody_tries_to_lead,
    somebody_tries_to_lead,
    lease_ends,
    leader_goes_on,
    leader_gives_up,
    epochs_are_reserved,
    cycle_is_announced,
    pod_registers,
    pod_registers,
    pod_renews,
    pod_renews,
    pod_leaves,
    claims_are_decided,
    claims_are_decided,
    all_is_restored,
    somebody_writes,
    somebody_writes,
    somebody_writes,
    somebody_writes,
    session_requires,
    request_comes,
    leader_takes_requests,
    store_is_emptied,
]


def _newest(both: Both, leaderships: list[Leadership]) -> Leadership:
    return leaderships[-1] if both.chance.random() < 0.7 else both.chance.choice(leaderships)


def _lease(both: Both) -> PodLease:
    """Mostly that of a running instance."""
    running = list(both.twin.stored.tokens.items())
    if running and both.chance.random() < 0.7:
        pod_id, (token, _) = both.chance.choice(running)
        return PodLease(pod_id, token)
    return PodLease(both.chance.choice(PODS), both.chance.choice(both.tokens))


async def _said(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except LeaseLost as failure:
        return LeaseLost, failure.superseded
    except IncarnationBehind as failure:
        return IncarnationBehind, failure.incarnation
    except (NotLeading, Unavailable) as failure:
        return type(failure)


def _token(stored: bytes) -> tuple[str, int]:
    token, _, lease_ms = stored.decode().partition("|")
    return token, int(lease_ms)
