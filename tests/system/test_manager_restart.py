"""The session manager away for seconds, and back: pods that renew in Redis never stop, others go on where they were."""

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.client.redis_connection import connect
from tests.support.databases import empty_sqlite
from tests.support.own_valkey import own_valkey
from tests.support.polling import eventually
from tests.support.record_flow import flowing
from tests.support.server import RunningServer, running_server
from tests.support.world import disk, new_session

pytestmark = [pytest.mark.anyio, pytest.mark.xdist_group("failover"), pytest.mark.long]

PODS = ("a", "b")
SETTLE_SECONDS_MAX = 30.0
LEASE_SECONDS = 3.0
OWNERS = """query($id: ID!) { session(ref: {id: $id}) { tiles(first: 1000) { edges { node {
  id handoff { id } assignment { podId epoch acknowledgedAt } } } } } }"""


@dataclass
class World:
    """Stores and pods that outlive the server, and records of every tile that keep flowing."""

    directory: Path
    valkey: EmbeddedValkey
    redis: Redis
    port: int
    server: RunningServer | None = None
    session_id: str = ""
    pods: list[subprocess.Popen[bytes]] = field(default_factory=list)
    serving: ExitStack = field(default_factory=ExitStack)

    def serve(self) -> None:
        stores = ("--redis-url", self.valkey.url, "--database-url", empty_sqlite(self.directory))
        self.server = self.serving.enter_context(
            running_server(self.directory / "data", "--port", str(self.port), *stores)
        )

    def kill_server(self) -> None:
        assert self.server is not None
        self.server.process.kill()
        self.server.process.wait()
        self.serving.close()

    def start_pods(self, renew_in_redis: bool) -> None:
        for pod_id in PODS:
            command = [sys.executable, "-m", "subgraph.demo.pod", "--url", f"http://127.0.0.1:{self.port}/graphql"]
            command += ["--redis-url", self.valkey.url, "--id", pod_id, "--capacity", "1000"]
            command += ["--fleet-redis-url", self.valkey.url] if renew_in_redis else []
            self.pods.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def kill_pods(self) -> None:
        for pod in self.pods:
            pod.kill()
            pod.wait()

    async def terms(self, session_id: str) -> dict[str, tuple[str, int]]:
        """Pod and epoch of each tile, once all pods have some, all is acknowledged and nothing moves."""
        server = self.server
        assert server is not None

        def settled() -> dict[str, tuple[str, int]] | None:
            edges = server.data(OWNERS, id=session_id)["session"]["tiles"]["edges"]
            tiles: list[dict[str, Any]] = [edge["node"] for edge in edges]
            if not all(one["assignment"] and one["assignment"]["acknowledgedAt"] for one in tiles):
                return None
            terms = {one["id"]: (one["assignment"]["podId"], one["assignment"]["epoch"]) for one in tiles}
            return terms if {pod for pod, _ in terms.values()} == {*PODS} else None

        found: dict[str, tuple[str, int]] = await eventually(settled, "the tiles are settled", SETTLE_SECONDS_MAX)
        return found


@asynccontextmanager
async def world(directory: Path, *, renew_in_redis: bool) -> AsyncIterator[World]:
    async with AsyncExitStack() as closing:
        valkey = await closing.enter_async_context(own_valkey(directory / "valkey"))
        redis = await closing.enter_async_context(connect(valkey.url))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        made = World(directory, valkey, redis, port)
        closing.callback(lambda: made.serving.close())
        made.serve()
        made.start_pods(renew_in_redis)
        closing.callback(made.kill_pods)
        server = made.server
        assert server is not None
        ready = "{ fleet { pods(status: [READY]) { totalCount } } }"
        both = {"fleet": {"pods": {"totalCount": len(PODS)}}}
        await eventually(lambda: server.data(ready) == both, "the pods are ready", SETTLE_SECONDS_MAX)
        made.session_id = new_session(server, disk(2))
        yield made


async def test_pods_that_renew_in_redis_work_on_while_the_session_manager_is_away_for_ten_seconds(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, renew_in_redis=True) as made:
        before = await made.terms(made.session_id)
        async with flowing(made.redis, [*before]) as flow:
            made.kill_server()
            went_at = asyncio.get_running_loop().time()
            seen = await flow.accepted_up_to()
            while asyncio.get_running_loop().time() < went_at + 10:

                async def every_tile_goes_on(since: dict[str, int] = seen) -> dict[str, int] | None:
                    now = await flow.accepted_up_to()
                    return now if all(now[tile] > since[tile] for tile in now) else None

                # Far less than what is left of a lease: nobody stops, not even for a moment.
                seen = await eventually(every_tile_goes_on, "records of every tile are accepted", LEASE_SECONDS / 2)
            await asyncio.to_thread(made.serve)  # it may take long to start: meanwhile records go on flowing
            # Nobody was lost, and no tile changed its owner or its epoch.
            assert await made.terms(made.session_id) == before
        assert made.server is not None
        # They hear of new assignments again.
        assert len(await made.terms(new_session(made.server, disk(2, lat=30.0)))) == 19
        ready = made.server.data("{ fleet { pods(status: [READY]) { totalCount } } }")
        assert ready["fleet"]["pods"]["totalCount"] == len(PODS)


async def test_pods_that_renew_over_graphql_stop_in_time_and_go_on_at_their_epochs_when_it_is_back(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, renew_in_redis=False) as made:
        before = await made.terms(made.session_id)
        async with flowing(made.redis, [*before]) as flow:
            made.kill_server()
            went_at = asyncio.get_running_loop().time()
            last_accepted_at, seen = went_at, await flow.accepted_up_to()
            while asyncio.get_running_loop().time() < went_at + 2 * LEASE_SECONDS:
                now = await flow.accepted_up_to()
                if now != seen:
                    last_accepted_at, seen = asyncio.get_running_loop().time(), now
                await asyncio.sleep(0.05)
            assert last_accepted_at < went_at + LEASE_SECONDS
            await asyncio.to_thread(made.serve)  # it may take long to start: meanwhile records go on flowing
            assert await made.terms(made.session_id) == before


async def test_a_paused_pod_that_renews_in_redis_writes_nothing_of_what_others_have_taken_over(
    tmp_path: Path,
) -> None:
    async with world(tmp_path, renew_in_redis=True) as made:
        before = await made.terms(made.session_id)
        async with flowing(made.redis, [*before]):
            assert made.server is not None
            server = made.server
            made.pods[0].send_signal(signal.SIGSTOP)
            status = '{ pod(id: "a") { status tileCount } }'
            gone = {"status": "LOST", "tileCount": 0}
            await eventually(lambda: server.data(status)["pod"] == gone, "it is lost", SETTLE_SECONDS_MAX)
            made.pods[0].send_signal(signal.SIGCONT)
            await eventually(lambda: server.data(status)["pod"]["status"] == "READY", "it is back", SETTLE_SECONDS_MAX)
            owners = server.data(OWNERS, id=made.session_id)["session"]["tiles"]["edges"]
            assert {edge["node"]["assignment"]["podId"] for edge in owners} == {"b"}
