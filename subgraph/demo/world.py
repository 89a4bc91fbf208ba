"""Owns the demo's world: stores, a server, a fleet of pods, traffic and a watch on it all, from start to end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gql import Client, GraphQLRequest, gql
from gql.client import AsyncClientSession
from gql.transport.httpx import HTTPXAsyncTransport
from redis.asyncio import Redis
from redis.exceptions import RedisError

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey, EmbeddedValkeyFailed
from subgraph.adapters.valkey.valkey_keeper import keep_alive
from subgraph.client.redis_connection import connect
from subgraph.demo.channel import TileChannel
from subgraph.demo.feeder import TILE_RESOLUTION, Feeder
from subgraph.demo.flights import load_flights
from subgraph.demo.pod import SINK_NAME
from subgraph.demo.processes import POLL_SECONDS, READY_SECONDS_MAX, DemoFailed, Processes
from subgraph.demo.replay import Replay
from subgraph.demo.watch import Watch

REPORT_EVERY_SECONDS = 60.0
"""Simulated seconds between two positions of an aircraft."""
ANSWER_SECONDS_MAX = 10.0

_MAIN = gql("{ mainSession { id partition { tileCount } } }")
_READY = gql("{ fleet { pods(first: 100, status: [READY]) { totalCount } } }")
_END = gql("mutation End($input: EndSessionInput!) { endSession(input: $input) { errors { message } } }")


@dataclass(frozen=True, slots=True)
class LiveWorld:
    """A running world. `problem` waits for what ends it: a server that cannot be started again, or a fault."""

    url: str
    session_id: str
    redis: Redis
    processes: Processes
    feeder: Feeder
    channel: TileChannel
    watch: Watch
    problem: "asyncio.Future[None]"


@contextlib.asynccontextmanager
async def live_world(
    data_dir: Path,
    *,
    port: int,
    pods: int,
    pace: float,
    start_second_of_day: float,
    resolution: int = TILE_RESOLUTION,
) -> AsyncIterator[LiveWorld]:
    """A world whose traffic flows; it ends at exit with all its processes.

    Args:
        data_dir: where the stores keep their data; the caller holds it.
        port: the server's.
        pods: how many pod processes.
        pace: simulated seconds per real second.
        start_second_of_day: when the replay begins.
        resolution: of the tiles that are registered; coarse ones split where the traffic is heavy.

    Raises:
        DemoFailed: a part of it did not come up.
    """
    async with contextlib.AsyncExitStack() as cleanups:
        valkey = EmbeddedValkey(data_dir / "valkey")
        cleanups.push_async_callback(valkey.stop)
        try:
            await valkey.start()
        except EmbeddedValkeyFailed as error:
            raise DemoFailed(str(error)) from error
        redis = connect(valkey.url)
        cleanups.push_async_callback(redis.aclose)
        processes = cleanups.enter_context(Processes(data_dir, valkey.url, port))
        await processes.server_ready()
        for number in range(1, pods + 1):
            processes.start_pod(f"pod-{number}")
        client = Client(transport=HTTPXAsyncTransport(processes.url, timeout=ANSWER_SECONDS_MAX))
        session = await cleanups.enter_async_context(client)
        await _pods_ready(session, pods)
        session_id = await _fresh_main(session)
        channel = TileChannel(redis)
        cleanups.push_async_callback(_emptied, channel)
        replay = Replay(load_flights(), start_second_of_day, REPORT_EVERY_SECONDS, pace)
        watch = Watch(processes.url, redis, SINK_NAME, session_id)
        feeder = Feeder(session, session_id, channel, replay, resolution, watch.waiting)
        cleanups.enter_context(_log_noted(watch.world.note))
        works = (feeder.run(), watch.run(), processes.keep_server(watch.world.note), keep_alive(valkey))
        problem = asyncio.ensure_future(_until_one_fails(*works))
        cleanups.push_async_callback(_cancelled, problem)
        yield LiveWorld(processes.url, session_id, redis, processes, feeder, channel, watch, problem)


class _Noted(logging.Handler):
    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        self._note(record.getMessage())


@contextlib.contextmanager
def _log_noted(note: Callable[[str], None]) -> Iterator[None]:
    """Have what is logged among the events: it must not be written over the screen."""
    noted, logger = _Noted(note), logging.getLogger("subgraph")
    logger.addHandler(noted)
    try:
        yield
    finally:
        logger.removeHandler(noted)


async def _emptied(channel: TileChannel) -> None:
    # Its Redis may be stopped, and is about to end anyway.
    with contextlib.suppress(RedisError, OSError):
        await channel.delete()


async def _until_one_fails(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _cancelled(work: "asyncio.Future[Any]") -> None:
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


async def _pods_ready(session: AsyncClientSession, pods: int) -> None:
    """Let the traffic begin when all pods are there, so that none is swamped by the first of it."""
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while (await session.execute(_READY))["fleet"]["pods"]["totalCount"] < pods:
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError:
        raise DemoFailed(f"not all {pods} pods registered within {READY_SECONDS_MAX:g} s") from None


async def _fresh_main(session: AsyncClientSession) -> str:
    """The live world: the tenant's main session. One that an earlier replay has left tiles in is ended first."""
    main = (await session.execute(_MAIN))["mainSession"]
    if main["partition"]["tileCount"]:
        answer = await session.execute(GraphQLRequest(_END, variable_values={"input": {"id": main["id"]}}))
        if errors := answer["endSession"]["errors"]:
            raise DemoFailed(errors[0]["message"])
        main = (await session.execute(_MAIN))["mainSession"]
    session_id: str = main["id"]
    return session_id
