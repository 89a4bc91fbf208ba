"""Owns the demo's processes: one server and a fleet of pods on given stores, and their orderly end.

What is set in the shell is for other servers, with other stores and other callers: none of it reaches these.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from subgraph.adapters import die_with_parent

SETTINGS_PREFIX = "SESSION_MANAGER_"
READY_SECONDS_MAX = 20.0
POLL_SECONDS = 0.1
STOP_SECONDS = 1.5
STARTS_IN_A_ROW_MAX = 3
CALM_SECONDS = 20.0
"""A server that ran for so long has not failed to start."""
POD_CAPACITY = 800.0
"""Records a second. With five pods the noon traffic, 2,000 a second, fills them about half."""


class DemoFailed(Exception):
    """Why the demo cannot go on: one line."""


class Processes:
    """The server's and the pods' processes; each ends with us, whatever becomes of us."""

    def __init__(self, data_dir: Path, redis_url: str, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/graphql"
        self._redis_url = redis_url
        self._database_url = f"sqlite:///{data_dir.absolute()}/session-manager.sqlite3"
        self._port = port
        self._log = data_dir / "demo.log"
        self._said_before = 0
        self._server: subprocess.Popen[bytes] | None = None
        self.pods: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "Processes":
        self._start_server()
        return self

    def __exit__(self, *_: object) -> None:
        running = [process for process in (*self.pods.values(), self._server) if process and process.poll() is None]
        for process in running:
            # A stopped process (SIGSTOP is something to try) must wake up to end.
            process.send_signal(signal.SIGCONT)
            process.kill() if process is not self._server else process.terminate()
        for process in running:
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def process_of_pod(self) -> dict[str, int]:
        """Process ids of the pods that run."""
        return {pod: process.pid for pod, process in self.pods.items() if process.poll() is None}

    def start_pod(self, pod_id: str) -> None:
        """Start a pod."""
        places = ("--url", self.url, "--redis-url", self._redis_url)
        self.pods[pod_id] = self._start("subgraph.demo.pod", *places, "--id", pod_id, "--capacity", str(POD_CAPACITY))

    async def server_ready(self) -> None:
        """Wait until the server can serve. What counts is what it says itself: another one may answer on its port.

        Raises:
            DemoFailed: it ended, as where its port is in use, or was not ready in time.
        """
        give_up_at = asyncio.get_running_loop().time() + READY_SECONDS_MAX
        ready = self.url.removesuffix("/graphql") + "/readyz"
        async with httpx.AsyncClient() as http:
            while asyncio.get_running_loop().time() < give_up_at:
                self._check_server()
                with contextlib.suppress(httpx.HTTPError):
                    if self._says_that_it_is_up() and (await http.get(ready)).status_code == 200:
                        return
                await asyncio.sleep(POLL_SECONDS)
        raise DemoFailed(f"the server was not ready within {READY_SECONDS_MAX:g} s; its log: {self._log}")

    async def keep_server(self, note: Callable[[str], None]) -> None:
        """Start the server again when it ends, and say so.

        Raises:
            DemoFailed: it has ended again and again.
        """
        clock = asyncio.get_running_loop().time
        started_at, starts = clock(), 0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                self._check_server()
            except DemoFailed as ended:
                starts = 1 if clock() > started_at + CALM_SECONDS else starts + 1
                if starts > STARTS_IN_A_ROW_MAX:
                    raise
                note(f"{ended}; it is started again")
                self._start_server()
                started_at = clock()

    def _start_server(self) -> None:
        stores = ("--redis-url", self._redis_url, "--database-url", self._database_url)
        self._said_before = self._log.stat().st_size if self._log.exists() else 0
        self._server = self._start("subgraph", "serve", "--port", str(self._port), *stores)

    def _check_server(self) -> None:
        assert self._server is not None
        if self._server.poll() is not None:
            said = self._said().strip().splitlines()
            raise DemoFailed(f"the server has ended: {said[-1].removeprefix('Error: ') if said else 'it said nothing'}")

    def _says_that_it_is_up(self) -> bool:
        return f" {self.url}" in self._said()

    def _said(self) -> str:
        """What the server has said since it was last started, and pods beside it."""
        with self._log.open("rb") as log:
            log.seek(self._said_before)
            return log.read().decode(errors="replace")

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *arguments]
        if sys.platform == "linux":
            command = [sys.executable, die_with_parent.__file__, str(os.getpid()), *command]
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={name: value for name, value in os.environ.items() if not name.startswith(SETTINGS_PREFIX)},
                start_new_session=True,  # Ctrl-C is for the demo to hear, which ends the others in their order
            )
