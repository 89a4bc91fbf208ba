"""Real processes whose live store loses everything or its last writes: owners keep their tiles, and the sink judges."""

import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis

from subgraph.adapters.embedded_valkey import EmbeddedValkey
from subgraph.client.redis_connection import connect
from tests.support.databases import sqlite_file
from tests.support.own_valkey import kill, own_valkey
from tests.support.polling import eventually
from tests.support.record_flow import flowing
from tests.support.server import RunningServer, running_server
from tests.support.world import disk, new_session

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("failover")]

PODS = ("a", "b", "c")
SETTLE_SECONDS_MAX = 30.0
TILES = 37
TERMS = """query($id: ID!) { session(ref: {id: $id}) { tiles(first: 1000) { edges { node {
  id handoff { id } assignment { podId epoch acknowledgedAt } } } } } }"""
Terms = dict[str, tuple[str, int]]


@dataclass
class World:
    """A server and pods whose live store can be harmed; records and the sink are in another one, which judges."""

    fleet_store: EmbeddedValkey
    data_store: EmbeddedValkey
    server: RunningServer
    session_id: str = ""
    pods: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_pods(self) -> None:
        for pod_id in PODS:
            command = [sys.executable, "-m", "subgraph.demo.pod", "--url", f"{self.server.url}/graphql"]
            command += ["--redis-url", self.data_store.url, "--id", pod_id, "--capacity", "1000"]
            # One that renews over GraphQL, too: each has its own way to learn of the loss.
            command += ["--fleet-redis-url", self.fleet_store.url] if pod_id != PODS[0] else []
            self.pods.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    async def settled(self, above: int = 0) -> Terms:
        """Pod and epoch of each tile, once all are acknowledged at epochs above one, and nothing moves."""

        def terms() -> Terms | None:
            # While no leader has taken the store over, questions of ownership have no answer.
            session = (self.server.ask(TERMS, id=self.session_id).get("data") or {}).get("session")
            tiles = [edge["node"] for edge in session["tiles"]["edges"]] if session else []
            owned = [one["assignment"] for one in tiles if one["assignment"] and not one["handoff"]]
            if len(owned) < TILES or not all(one["acknowledgedAt"] and one["epoch"] > above for one in owned):
                return None
            return {one["id"]: (one["assignment"]["podId"], one["assignment"]["epoch"]) for one in tiles}

        found: Terms = await eventually(terms, "the tiles are settled", SETTLE_SECONDS_MAX)
        return found

    async def emptied(self) -> None:
        async with Redis.from_url(self.fleet_store.url) as client:
            await client.flushall()

    async def killed(self) -> None:
        await kill(self.fleet_store)
        await self.fleet_store.start()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as closing:
        fleet_store = await closing.enter_async_context(own_valkey(tmp_path / "fleet"))
        data_store = await closing.enter_async_context(own_valkey(tmp_path / "records"))
        stores = ("--redis-url", fleet_store.url, "--database-url", sqlite_file(tmp_path))
        server = closing.enter_context(running_server(tmp_path / "data", *stores))
        made = World(fleet_store, data_store, server)
        closing.callback(lambda: [(pod.kill(), pod.wait()) for pod in made.pods])
        made.start_pods()
        ready = "{ fleet { pods(status: [READY]) { totalCount } } }"
        all_are = {"fleet": {"pods": {"totalCount": len(PODS)}}}
        await eventually(lambda: server.data(ready) == all_are, "the pods are ready", SETTLE_SECONDS_MAX)
        made.session_id = new_session(server, disk(3))
        yield made


@pytest.mark.parametrize("lose", [World.emptied, World.killed])
async def test_owners_keep_their_tiles_at_higher_epochs_and_no_record_is_lost_or_doubled(
    world: World, lose: Callable[[World], Awaitable[None]]
) -> None:
    before = await world.settled()
    assert {pod for pod, _ in before.values()} == {*PODS}
    async with connect(world.data_store.url) as records, flowing(records, [*before]):
        highest = max(epoch for _, epoch in before.values())
        await lose(world)
        after = await world.settled(above=highest)
    assert {tile: pod for tile, (pod, _) in after.items()} == {tile: pod for tile, (pod, _) in before.items()}
    assert all(pod.poll() is None for pod in world.pods)
