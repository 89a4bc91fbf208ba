"""Owns who is measured: how our server and its peers are started, and when they are ready."""

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
from peers.processes import CpuSeconds, cpu_seconds, server, store_seconds

PEERS = Path(__file__).parent
APOLLO = PEERS / "apollo"
START_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A running server."""

    name: str
    port: int
    pid: int
    reads_shared_store: bool
    """Its data are in the benchmark's Valkey, not in one that is its own child."""

    def used(self) -> CpuSeconds:
        """Processor time so far: its own, and that of the Valkey it reads."""
        return cpu_seconds(self.pid) + (store_seconds() if self.reads_shared_store else CpuSeconds(0.0, 0.0))


async def start_ours(stack: AsyncExitStack, core: int, home: Path) -> Contender:
    """This project's server, with its own embedded Valkey."""
    port = _free_port()
    command = [sys.executable, "-m", "subgraph", "serve", "--port", str(port), "--data-dir", str(home / "data")]
    return await _start(stack, "ours", command, port, core, home)


async def start_strawberry(stack: AsyncExitStack, core: int, home: Path, store: Path) -> Contender:
    """The plain Strawberry subgraph."""
    port = _free_port()
    command = [sys.executable, str(PEERS / "plain_strawberry.py"), str(port), str(store)]
    return await _start(stack, "strawberry", command, port, core, home)


async def start_apollo(stack: AsyncExitStack, core: int, home: Path, store: Path) -> Contender | None:
    """The Apollo subgraph; its packages are installed from the lock file if need be. None, and a word why, without."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        print("apollo is left out: no node or npm here")
        return None
    if not (APOLLO / "node_modules").is_dir():
        install = [npm, "ci", "--no-audit", "--no-fund"]
        done = await asyncio.to_thread(subprocess.run, install, cwd=APOLLO, capture_output=True, text=True)
        if done.returncode:
            print(f"apollo is left out: npm ci failed\n{done.stderr.strip()}")
            return None
    port = _free_port()
    return await _start(stack, "apollo", [node, str(APOLLO / "server.mjs"), str(port), str(store)], port, core, home)


async def _start(
    stack: AsyncExitStack, name: str, command: Sequence[str], port: int, core: int, home: Path
) -> Contender:
    log = home / f"{name}.log"
    process = stack.enter_context(server(command, core=core, log=log, env={"NODE_ENV": "production"}))
    async with asyncio.timeout(START_SECONDS_MAX), httpx.AsyncClient() as client:
        while True:
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended:\n{log.read_text()}")
            try:
                answer = await client.post(f"http://127.0.0.1:{port}/graphql", json={"query": "{ __typename }"})
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 200:
                return Contender(name, port, process.pid, reads_shared_store=name != "ours")
            await asyncio.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
