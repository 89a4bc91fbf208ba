"""Owns the demo's processes: stores, a server, a fleet of pods, the feeder and the screen, and their orderly end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from gql import Client, GraphQLRequest, gql
from gql.client import AsyncClientSession
from gql.transport.httpx import HTTPXAsyncTransport
from redis.asyncio import Redis
from rich.console import Console
from rich.live import Live

from subgraph.adapters.data_directory import DataDirectory, DataDirectoryUnusable
from subgraph.adapters.embedded_valkey import EmbeddedValkey, EmbeddedValkeyFailed
from subgraph.demo.channel import TileChannel
from subgraph.demo.feeder import Feeder
from subgraph.demo.flights import load_flights
from subgraph.demo.pod import SINK_NAME
from subgraph.demo.replay import Replay
from subgraph.demo.screen import Moment, line, screen
from subgraph.demo.watch import Watch

READY_SECONDS_MAX = 20.0
STOP_SECONDS = 1.5
REFRESH_SECONDS = 0.5
LINE_SECONDS = 5.0
DATA_SOURCE = "us-flights-2001-06-13"
POD_CAPACITY = 800.0
"""Records a second. With five pods the noon traffic, 2,000 a second, fills them about half."""

_CREATE = gql(
    "mutation Create($input: CreateSessionInput!) "
    "{ createSession(input: $input) { session { id } errors { message } } }"
)
_END = gql("mutation End($input: EndSessionInput!) { endSession(input: $input) { errors { message } } }")


class DemoFailed(Exception):
    """Why the demo cannot go on: one line."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What can be chosen. Paces are simulated seconds per real second."""

    pods: int = 5
    port: int = 4001
    pace: float = 60.0
    start_second_of_day: float = 11.5 * 3_600
    seconds: float | None = None
    data_dir: Path | None = None
    plain: bool = False


def run_demo(options: DemoOptions) -> None:
    """Run the demo until Ctrl-C, or for the seconds chosen.

    Raises:
        DemoFailed: a part of it did not come up.
    """
    with contextlib.ExitStack() as cleanups:
        data_dir = options.data_dir or Path(cleanups.enter_context(tempfile.TemporaryDirectory(prefix="sm-demo-")))
        directory = DataDirectory(data_dir)
        try:
            directory.acquire()
        except DataDirectoryUnusable as error:
            raise DemoFailed(str(error)) from error
        cleanups.callback(directory.release)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_run(options, directory))


async def _run(options: DemoOptions, directory: DataDirectory) -> None:
    async with contextlib.AsyncExitStack() as cleanups:
        valkey = EmbeddedValkey(directory.valkey_directory)
        cleanups.push_async_callback(valkey.stop)
        try:
            await valkey.start()
        except EmbeddedValkeyFailed as error:
            raise DemoFailed(str(error)) from error
        redis = Redis.from_url(valkey.url)
        cleanups.push_async_callback(redis.aclose)
        url = f"http://127.0.0.1:{options.port}/graphql"
        processes = cleanups.enter_context(_Processes(directory, valkey.url, url, options))
        await processes.server_ready()
        for number in range(1, options.pods + 1):
            processes.start_pod(f"pod-{number}")
        client = Client(transport=HTTPXAsyncTransport(url, timeout=10.0))
        session = await cleanups.enter_async_context(client)
        session_id = await cleanups.enter_async_context(_session(session))
        channel = TileChannel(redis)
        feeder = Feeder(
            session, session_id, channel, Replay(load_flights(), options.start_second_of_day, 60.0, options.pace)
        )
        watch = Watch(url, redis, SINK_NAME, session_id, None)
        show = _Show(options, processes, feeder, channel, watch, _hints(url, session_id, processes))
        async with asyncio.TaskGroup() as tasks:
            background = [tasks.create_task(one) for one in (feeder.run(), watch.run(), processes.watch_server())]
            await show.run()
            for task in background:
                task.cancel()
        show.sum_up()


class _Processes:
    """The server's and the pods' processes; each ends with us, whatever becomes of us."""

    def __init__(self, directory: DataDirectory, redis_url: str, url: str, options: DemoOptions) -> None:
        self._directory = directory
        self._redis_url = redis_url
        self._url = url
        self._options = options
        self._log = directory.database_path.with_name("demo.log")
        self._server: subprocess.Popen[bytes] | None = None
        self.pods: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> "_Processes":
        database_url = f"sqlite:///{self._directory.database_path}"
        self._server = self._start(
            "subgraph", "serve", "--port", str(self._options.port), "--redis-url", self._redis_url,
            "--database-url", database_url,
        )  # fmt: skip
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
        arguments = (
            "--url",
            self._url,
            "--redis-url",
            self._redis_url,
            "--id",
            pod_id,
            "--capacity",
            str(POD_CAPACITY),
        )
        self.pods[pod_id] = self._start("subgraph.demo.pod", *arguments)

    async def server_ready(self) -> None:
        """Wait until the server can serve.

        Raises:
            DemoFailed: it ended, or was not ready in time.
        """
        give_up_at = asyncio.get_running_loop().time() + READY_SECONDS_MAX
        ready = self._url.removesuffix("/graphql") + "/readyz"
        async with httpx.AsyncClient() as http:
            while asyncio.get_running_loop().time() < give_up_at:
                self._check_server()
                with contextlib.suppress(httpx.HTTPError):
                    if (await http.get(ready)).status_code == 200:
                        return
                await asyncio.sleep(0.1)
        raise DemoFailed(f"the server was not ready within {READY_SECONDS_MAX:g} s; its log: {self._log}")

    async def watch_server(self) -> None:
        """Raise DemoFailed when the server ends."""
        while True:
            self._check_server()
            await asyncio.sleep(REFRESH_SECONDS)

    def _check_server(self) -> None:
        assert self._server is not None
        if self._server.poll() is not None:
            said = self._log.read_text(errors="replace").strip().splitlines()
            raise DemoFailed(f"the server has ended: {said[-1] if said else 'it said nothing'}")

    def _start(self, module: str, *arguments: str) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=os.environ,
                start_new_session=True,  # Ctrl-C is for the demo to hear, which ends the others in their order
            )


@dataclass(slots=True)
class _Show:
    options: DemoOptions
    processes: _Processes
    feeder: Feeder
    channel: TileChannel
    watch: Watch
    hints: tuple[str, ...]

    async def run(self) -> None:
        """Show the world until the time chosen is over."""
        console = Console()
        plain = self.options.plain or not console.is_terminal
        loop = asyncio.get_running_loop()
        end_at = None if self.options.seconds is None else loop.time() + self.options.seconds
        with _live(console, plain) as live:
            if plain:
                console.print("\n".join(self.hints), highlight=False, soft_wrap=True)
            while end_at is None or loop.time() < end_at:
                if live is not None:
                    live.update(screen(self.watch.world, self._moment()), refresh=True)
                else:
                    console.print(line(self.watch.world, self._moment()), highlight=False, soft_wrap=True)
                pause = REFRESH_SECONDS if live is not None else LINE_SECONDS
                await asyncio.sleep(pause if end_at is None else max(0.0, min(pause, end_at - loop.time())))

    def sum_up(self) -> None:
        """Print how it ended."""
        Console().print(line(self.watch.world, self._moment()), highlight=False, soft_wrap=True)

    def _moment(self) -> Moment:
        replay = self.feeder.replay
        return Moment(
            replay.second_of_day,
            replay.pace,
            self.feeder.aircraft,
            self.channel.sent,
            self.processes.process_of_pod,
            self.hints,
        )


@contextlib.contextmanager
def _live(console: Console, plain: bool) -> Iterator[Live | None]:
    if plain:
        yield None
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        yield live


@contextlib.asynccontextmanager
async def _session(session: AsyncClientSession) -> AsyncIterator[str]:
    """A session of its own for this replay, ended with it."""
    created = await _mutate(session, _CREATE, "createSession", {"dataSource": DATA_SOURCE, "type": "Replay"})
    session_id: str = created["session"]["id"]
    try:
        yield session_id
    finally:
        with contextlib.suppress(Exception):
            await _mutate(session, _END, "endSession", {"id": session_id})


async def _mutate(session: AsyncClientSession, document: GraphQLRequest, name: str, values: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await session.execute(GraphQLRequest(document, variable_values={"input": values})))[name]
    if answer["errors"]:
        raise DemoFailed(answer["errors"][0]["message"])
    return answer


def _hints(url: str, session_id: str, processes: _Processes) -> tuple[str, ...]:
    victim, other = [*processes.pods.items(), *processes.pods.items()][:2]
    drain = f'mutation {{ drainPod(input: {{ podId: "{other[0]}" }}) {{ pod {{ status }} errors {{ message }} }} }}'
    return (
        f"GraphiQL      {url}   (session {session_id})",
        f'ask           {{ session(ref: {{ id: "{session_id}" }}) {{ partition {{ tileCount imbalance }} }} fleet {{ imbalance }} }}',
        f"kill a pod    kill -9 {victim[1].pid}      pause one    kill -STOP {other[1].pid}; sleep 10; kill -CONT {other[1].pid}",
        f"drain a pod   {drain}",
    )
