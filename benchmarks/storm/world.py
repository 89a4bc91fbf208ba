"""Owns the world that the storm breaks upon: two servers, pods behind gates, the replayed day, a sink apart from it.

The fleet's Valkey is the storm's to kill and empty; the records' way and the sink have another, which judges.
"""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from gql import Client
from gql.transport.httpx import HTTPXAsyncTransport
from redis.asyncio import Redis

from storm.gate import Gate
from subgraph.adapters import die_with_parent
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.demo.channel import TileChannel
from subgraph.demo.feeder import Feeder
from subgraph.demo.flights import load_flights
from subgraph.demo.replay import Replay

BENCHMARKS = Path(__file__).parents[1]
NOON = 12 * 3_600.0
PACE = 60.0
REPORT_EVERY_SECONDS = 60.0
POD_CAPACITY = 800.0
READY_SECONDS_MAX = 60.0
LAST_LINES = 12
ANSWER_SECONDS_MAX = 10.0
FLEET_QUERY = "{ fleet { tileCount unassignedTiles movesInFlight leader } }"
TILES_QUERY = """query($id: ID!, $after: String) { session(ref: {id: $id}) { tiles(first: 1000, after: $after) {
  pageInfo { hasNextPage endCursor } edges { node { id assignment { podId epoch acknowledgedAt } } } } } }"""


@dataclass(slots=True)
class World:
    """The running world."""

    directory: Path
    fleet_store: EmbeddedValkey
    data_store: EmbeddedValkey
    data: Redis
    servers: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)  # by port
    pods: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)
    session_id: str = ""

    def live_ports(self) -> list[int]:
        """The ports of servers whose process runs."""
        return [port for port, process in self.servers.items() if process.poll() is None]

    def start_server(self, port: int) -> None:
        """Start a server, the first time or again."""
        self.servers[port] = self.start(
            f"server-{port}",
            "subgraph",
            "serve",
            *("--port", str(port), "--redis-url", self.fleet_store.url),
            *("--database-url", f"sqlite:///{self.directory}/storm.sqlite3"),
        )

    def start_pod(self, pod_id: str) -> None:
        """Start a pod, the first time or again."""
        self.pods[pod_id] = self.start(
            pod_id,
            "subgraph.demo.pod",
            *("--url", f"http://127.0.0.1:{self.gates[pod_id].port}/graphql", "--redis-url", self.data_store.url),
            *("--id", pod_id, "--capacity", str(POD_CAPACITY)),
        )

    async def ask(self, query: str, **variables: Any) -> dict[str, Any] | None:
        """The data any server answers, None where none does."""
        for port in self.live_ports():
            data = await self.ask_at(port, query, **variables)
            if data is not None:
                return data
        return None

    async def ask_at(self, port: int, query: str, **variables: Any) -> dict[str, Any] | None:
        """The data that one server answers, None where it does not."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            async with httpx.AsyncClient(timeout=2.0) as http:
                body = {"query": query, "variables": variables}
                answer = (await http.post(f"http://127.0.0.1:{port}/graphql", json=body)).json()
            if not answer.get("errors"):
                data: dict[str, Any] = answer["data"]
                return data
        return None

    async def owners(self) -> dict[str, tuple[str, int, bool]] | None:
        """Each tile's pod, epoch and whether it is acknowledged; no pod is ''. None: nobody answers."""
        found: dict[str, tuple[str, int, bool]] = {}
        after = None
        while True:
            answer = await self.ask(TILES_QUERY, id=self.session_id, after=after)
            if answer is None or answer["session"] is None:
                return None
            page = answer["session"]["tiles"]
            for edge in page["edges"]:
                owner = edge["node"]["assignment"] or {"podId": "", "epoch": 0, "acknowledgedAt": None}
                acknowledged = owner["acknowledgedAt"] is not None
                found[edge["node"]["id"]] = owner["podId"], owner["epoch"], acknowledged
            if not page["pageInfo"]["hasNextPage"]:
                return found
            after = page["pageInfo"]["endCursor"]

    def last_words(self, name: str) -> str:
        """The end of a process's log."""
        lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
        return "\n".join([f"{name}, which ended by itself, said:", *lines[-LAST_LINES:]])

    def end(self) -> None:
        """End every process."""
        for process in (*self.pods.values(), *self.servers.values()):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()

    def start(self, name: str, module: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a Python module as a process that ends with this one, and logs into the world's directory."""
        command = [sys.executable, die_with_parent.__file__, str(os.getpid()), sys.executable, "-m", module, *arguments]
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=BENCHMARKS
            )


@contextlib.asynccontextmanager
async def quiet_world(directory: Path, servers: int) -> AsyncIterator[World]:
    """Servers, started one after the other, on one Valkey and one SQLite file; another Valkey for data. No pods yet."""
    async with contextlib.AsyncExitStack() as cleanups:
        stores = [EmbeddedValkey(directory / name) for name in ("fleet", "data")]
        for store in stores:
            cleanups.push_async_callback(store.stop)
            await store.start()
        data = Redis.from_url(stores[1].url)
        cleanups.push_async_callback(data.aclose)
        world = World(directory, stores[0], stores[1], data)
        cleanups.callback(world.end)
        for _ in range(servers):
            port = free_port()
            world.start_server(port)
            await _until_ready(world, port)
        main = await world.ask("{ mainSession { id } }")
        assert main is not None
        world.session_id = main["mainSession"]["id"]
        yield world


@contextlib.asynccontextmanager
async def storm_world(directory: Path, pods: int) -> AsyncIterator[World]:
    """A world of two servers whose traffic flows, at noon, until exit."""
    async with contextlib.AsyncExitStack() as cleanups:
        world = await cleanups.enter_async_context(quiet_world(directory, servers=2))
        for number in range(1, pods + 1):
            pod_id = f"pod-{number}"
            world.gates[pod_id] = await cleanups.enter_async_context(Gate(world.live_ports))
            world.start_pod(pod_id)
        feeder_gate = await cleanups.enter_async_context(Gate(world.live_ports))
        feeding = asyncio.create_task(_feed(world, feeder_gate))
        cleanups.callback(feeding.cancel)
        yield world


async def _feed(world: World, gate: Gate) -> None:
    """Replay the day; where a server's end interrupts it, go on when another answers."""
    channel = TileChannel(world.data)
    replay = Replay(load_flights(), NOON, REPORT_EVERY_SECONDS, PACE)
    url = f"http://127.0.0.1:{gate.port}/graphql"
    while True:
        with contextlib.suppress(Exception):
            async with Client(transport=HTTPXAsyncTransport(url, timeout=ANSWER_SECONDS_MAX)) as session:
                await Feeder(session, world.session_id, channel, replay).run()
        await asyncio.sleep(0.2)


async def _until_ready(world: World, port: int) -> None:
    give_up_at = asyncio.get_running_loop().time() + READY_SECONDS_MAX
    while await world.ask_at(port, FLEET_QUERY) is None:
        if asyncio.get_running_loop().time() > give_up_at:
            raise SystemExit(f"a server was not ready within {READY_SECONDS_MAX:g} s; see {world.directory}")
        await asyncio.sleep(0.1)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
