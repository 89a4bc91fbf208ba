"""Real processes whose live store loses everything, or dies: owners keep their tiles, and the sink judges."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.client.redis_connection import connect
from tests.support.databases import empty_sqlite
from tests.support.own_valkey import kill, own_valkey
from tests.support.polling import eventually
from tests.support.record_flow import flowing
from tests.support.server import RunningServer, running_server
from tests.support.world import disk, new_session

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("failover"), pytest.mark.long]

PODS = ("a", "b", "c")
SETTLE_SECONDS_MAX = 30.0
TILES = 37
TERMS = """query($id: ID!) { session(ref: {id: $id}) { tiles(first: 1000) { edges { node {
  id handoff { id } assignment { podId epoch acknowledgedAt } } } } } }"""
Terms = dict[str, tuple[str, int]]


@dataclass
class World:
    """A server and pods whose live store can be harmed; records and the sink are in another one, which judges."""

    fleet_url: str
    data_store: EmbeddedValkey
    server: RunningServer
    fleet_store: EmbeddedValkey | None = None
    session_id: str = ""
    pods: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_pods(self) -> None:
        for pod_id in PODS:
            command = [sys.executable, "-m", "subgraph.demo.pod", "--url", f"{self.server.url}/graphql"]
            command += ["--redis-url", self.data_store.url, "--id", pod_id, "--capacity", "1000"]
            # One that renews over GraphQL, too: each has its own way to learn of the loss.
            command += ["--fleet-redis-url", self.fleet_url] if pod_id != PODS[0] else []
            self.pods.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def kill_pods(self) -> None:
        for pod in self.pods:
            pod.kill()
            pod.wait()

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
        async with Redis.from_url(self.fleet_url) as client:
            await client.flushall()

    async def killed_and_started_again(self) -> None:
        assert self.fleet_store is not None
        await kill(self.fleet_store)
        await self.fleet_store.start()

    async def killed(self) -> None:
        async with Redis.from_url(self.fleet_url) as client:
            os.kill((await client.info("server"))["process_id"], signal.SIGKILL)


@asynccontextmanager
async def world_of(directory: Path, *, embedded: bool) -> AsyncIterator[World]:
    async with AsyncExitStack() as closing:
        data_store = await closing.enter_async_context(own_valkey(directory / "records"))
        if embedded:
            server = closing.enter_context(running_server(directory / "data"))
            made = World(server.redis_url, data_store, server)
        else:
            fleet_store = await closing.enter_async_context(own_valkey(directory / "fleet"))
            stores = ("--redis-url", fleet_store.url, "--database-url", empty_sqlite(directory))
            server = closing.enter_context(running_server(directory / "data", *stores))
            made = World(fleet_store.url, data_store, server, fleet_store)
        closing.callback(made.kill_pods)
        made.start_pods()
        ready = "{ fleet { pods(status: [READY]) { totalCount } } }"
        all_are = {"fleet": {"pods": {"totalCount": len(PODS)}}}
        await eventually(lambda: server.data(ready) == all_are, "the pods are ready", SETTLE_SECONDS_MAX)
        made.session_id = new_session(server, disk(3))
        yield made


async def assert_all_is_kept(world: World, *losses: Callable[[World], Awaitable[None]]) -> None:
    before = await world.settled()
    assert {pod for pod, _ in before.values()} == {*PODS}
    async with connect(world.data_store.url) as records, flowing(records, [*before]):
        for lose in losses:
            highest = max(epoch for _, epoch in before.values())
            await lose(world)
            after = await world.settled(above=highest)
            assert {tile: pod for tile, (pod, _) in after.items()} == {tile: pod for tile, (pod, _) in before.items()}
            before = after
    assert all(pod.poll() is None for pod in world.pods)


@pytest.mark.parametrize("lose", [World.emptied, World.killed_and_started_again])
async def test_owners_keep_their_tiles_at_higher_epochs_and_no_record_is_lost_or_doubled(
    tmp_path: Path, lose: Callable[[World], Awaitable[None]]
) -> None:
    async with world_of(tmp_path, embedded=False) as world:
        await assert_all_is_kept(world, lose)


async def test_an_embedded_store_that_is_killed_is_started_again_by_its_server(tmp_path: Path) -> None:
    async with world_of(tmp_path, embedded=True) as world:
        # Twice: whoever started it again keeps it.
        await assert_all_is_kept(world, World.killed, World.killed)
