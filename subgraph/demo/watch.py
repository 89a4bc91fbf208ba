"""Owns what the demo knows of the world it runs: followed over GraphQL, and audited at the sink."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from gql import Client, GraphQLRequest, gql
from gql.transport.websockets import WebsocketsTransport
from redis.asyncio import Redis

from subgraph.client.audit import AuditFindings, AuditInterrupted, SinkAudit
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import SinkTotals
from subgraph.demo.waiting import AWAY, Waiting

EVENTS_SHOWN_MAX = 200
IN_PLACE_OF_OTHERS = {"TILE_SPLIT": "in the place of hot ones that split", "TILE_MERGED": "that cold ones merged into"}
RETRY_SECONDS = 0.5
AUDIT_SECONDS = 0.5

_FLEET = gql(
    """
    subscription Fleet { fleetChanges {
      tileCount unassignedTiles movesInFlight imbalance maxUtilization leader lastCycleMs rebalancing { lastSkip }
      pods(first: 100) { edges { node { id status capacity load utilization tileCount } } }
    } }
    """
)
_TILES = gql(
    """
    subscription Tiles($session: ID!) { tileChanges(sessionId: $session) {
      removedIds tiles { id health load { smoothed reportedAt } assignment { podId epoch reason acknowledgedAt } }
    } }
    """
)


@dataclass(slots=True)
class World:
    """The world as last heard of. `owner_of` holds (pod, epoch, acknowledged) per tile."""

    fleet: dict[str, Any] = field(default_factory=dict)
    health_of: dict[str, str] = field(default_factory=dict)
    load_of: dict[str, float] = field(default_factory=dict)
    owner_of: dict[str, tuple[str, int, bool]] = field(default_factory=dict)
    moves_by_reason: Counter[str] = field(default_factory=Counter)
    events: deque[str] = field(default_factory=lambda: deque(maxlen=EVENTS_SHOWN_MAX))
    audit: AuditFindings = field(default_factory=lambda: AuditFindings(0, 0, 0, 0, 0))
    totals: SinkTotals = field(default_factory=lambda: SinkTotals(0, 0, 0, 0))
    status_of: dict[str, str] = field(default_factory=dict)

    @property
    def pods(self) -> list[dict[str, Any]]:
        """The pods, by id."""
        return [edge["node"] for edge in self.fleet.get("pods", {}).get("edges", ())]

    @property
    def health_counts(self) -> Counter[str]:
        """Tiles of each health."""
        return Counter(self.health_of.values())

    def hear_fleet(self, fleet: dict[str, Any]) -> None:
        """Take over a new state of the fleet, and note what became of pods."""
        self.fleet = fleet
        for pod in self.pods:
            before = self.status_of.get(pod["id"])
            if pod["status"] != before:
                self.note(f"{pod['id']} is {pod['status']}" + (f", was {before}" if before else ""))
                self.status_of[pod["id"]] = pod["status"]

    def hear_tiles(self, batch: dict[str, Any]) -> None:
        """Take over changed tiles, and note their moves, together where they belong together."""
        moves: Counter[tuple[str | None, str, str]] = Counter()
        for tile in batch["tiles"]:
            owner = tile["assignment"]
            before = self.owner_of.get(tile["id"])
            self.health_of[tile["id"]] = tile["health"]
            self.load_of[tile["id"]] = tile["load"]["smoothed"]
            if owner is None:
                self.owner_of.pop(tile["id"], None)
                continue
            if before is None or before[1] != owner["epoch"]:
                moves[(before[0] if before else None, owner["podId"], owner["reason"])] += 1
            self.owner_of[tile["id"]] = (owner["podId"], owner["epoch"], owner["acknowledgedAt"] is not None)
        for tile_id in batch["removedIds"]:
            for known in (self.health_of, self.load_of, self.owner_of):
                known.pop(tile_id, None)
        for (_, _, reason), count in moves.items():
            self.moves_by_reason[reason] += count
        new = Counter[str]()
        for (source, _, reason), count in moves.items():
            if source is None:
                new[reason] += count
        for reason, text in IN_PLACE_OF_OTHERS.items():
            if count := new.pop(reason, 0):
                self.note(f"{_tiles(count)} {text}")
        if new:
            self.note(f"{_tiles(new.total())} reached by traffic and placed")
        for (source, target, reason), count in moves.items():
            if source is not None:
                self.note(f"{_tiles(count)} moved from {source} to {target}: {reason}")

    def note(self, event: str) -> None:
        """Remember an event, with the time."""
        self.events.append(f"{time.strftime('%H:%M:%S')}  {event}")


def _tiles(count: int) -> str:
    return f"{count} tile{'s' if count > 1 else ''}"


class Watch:
    """Keeps a World up to date. `run` until cancelled."""

    def __init__(self, url: str, redis: Redis, sink_name: str, session_id: str) -> None:
        self.world = World()
        self.waiting = Waiting(self.world.note)
        self._websocket_url = "ws" + url.removeprefix("http")
        self._session_id = session_id
        self._redis, self._sink_name = redis, sink_name
        self._audit = SinkAudit(redis, sink_name)
        self._sink = RedisSink(redis, sink_name, "watch")

    async def run(self) -> None:
        """Follow the fleet, the tiles and the sink."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear_fleet())
            tasks.create_task(self._hear_tiles())
            tasks.create_task(self._audit_sink())

    async def _hear_fleet(self) -> None:
        async for told in self._subscribe("fleet", GraphQLRequest(_FLEET)):
            self.world.hear_fleet(told["fleetChanges"])

    async def _hear_tiles(self) -> None:
        request = GraphQLRequest(_TILES, variable_values={"session": self._session_id})
        async for told in self._subscribe("tiles", request):
            self.world.hear_tiles(told["tileChanges"])

    async def _audit_sink(self) -> None:
        while True:
            await self.waiting.until_done("audit of the sink", self._take_audit)
            await asyncio.sleep(AUDIT_SECONDS)

    async def _take_audit(self) -> None:
        try:
            while await self._audit.follow():
                pass
        except AuditInterrupted as interrupted:
            self.world.note(f"the audit begins anew: {interrupted}")
            self._audit = SinkAudit(self._redis, self._sink_name)
        self.world.audit = self._audit.findings
        self.world.totals = await self._sink.totals()

    async def _subscribe(self, of: str, request: GraphQLRequest) -> AsyncIterator[dict[str, Any]]:
        while True:
            transport = WebsocketsTransport(self._websocket_url, subprotocols=["graphql-transport-ws"])
            try:
                async with Client(transport=transport) as session:
                    async for told in session.subscribe(request):
                        self.waiting.end(f"news of {of}")
                        yield told
            except AWAY as error:
                self.waiting.begin(f"news of {of}", error)
            await asyncio.sleep(RETRY_SECONDS)
