"""From a change to its subscriber: 1,000 subscribers of as many sessions, on two replicas, 100 changes a second.

    python benchmarks/streams.py [--subscribers 1000] [--changes-per-second 100] [--seconds 10]

Two servers share one database and one Valkey, one to a half of the subscribers each; every subscriber follows one
session over a WebSocket of its own. Changes are asked of both servers in turn, so half of them are told by the replica
that did not make them. The answer says that a change is durable; its event is measured from there, and from the request
on, which holds the time of the change itself. All of it runs on this machine, the client too.
"""

import argparse
import asyncio
import json
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from subgraph.adapters.data_directory import DATABASE_NAME
from subgraph.adapters.sql.database import sqlite_url
from tests.support.server import running_server

CREATE = """mutation($n: Int!) { createSession(input: {version: $n}) {
  session { id } errors { message } } }"""
CHANGE = """mutation($id: ID!, $v: String!) {
  updateSession(input: {id: $id, details: [{key: "at", value: $v}]}) { errors { message } } }"""
EVENTS = "subscription($id: ID!) { sessionEvents(sessionId: $id) { sequence type } }"
CREATING_AT_ONCE = 20
SETTLE_SECONDS = 2.0


@dataclass
class Change:
    """When a change was sent, answered and told, in seconds."""

    sent: float
    answered: float = math.nan
    told: float = math.nan


@dataclass
class Measured:
    """All changes, and of each session the one that is to be told next."""

    changes: list[Change] = field(default_factory=list)
    waiting: dict[str, Change] = field(default_factory=dict)
    strays: int = 0


async def main(subscribers: int, changes_per_second: int, seconds: float) -> None:
    """Measure, and print the table."""
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="sm-bench-") as directory:
        data = Path(directory) / "one"
        with running_server(data) as one:
            shared = ("--database-url", sqlite_url(data / DATABASE_NAME), "--redis-url", one.redis_url)
            with running_server(Path(directory) / "two", *shared) as two:
                urls = [one.url, two.url]
                await _measure(urls, subscribers, changes_per_second, seconds, measured)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| subscribers | changes/s | changes | | p50, ms | p99, ms | highest, ms | not told |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    told = [change for change in measured.changes if not math.isnan(change.told)]
    head = f"| {subscribers:,} | {changes_per_second:,} | {len(measured.changes):,} |"
    missing = len(measured.changes) - len(told)
    print(f"{head} answer → event | {_row([max(0.0, one.told - one.answered) for one in told])} | {missing} |")
    print(f"{head} request → event | {_row([one.told - one.sent for one in told])} | |")
    print(f"{head} request → answer | {_row([one.answered - one.sent for one in told])} | |")
    if measured.strays:
        sys.exit(f"{measured.strays} events came to somebody they were not for")


async def _measure(
    urls: Sequence[str], subscribers: int, changes_per_second: int, seconds: float, measured: Measured
) -> None:
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(timeout=60, limits=limits) as http:
        gate = asyncio.Semaphore(CREATING_AT_ONCE)

        async def create(number: int) -> str:
            async with gate:
                answer = await http.post(
                    f"{urls[number % 2]}/graphql", json={"query": CREATE, "variables": {"n": number + 1}}
                )
            payload = answer.json()["data"]["createSession"]
            if payload["errors"]:
                raise RuntimeError(f"a session was refused: {payload['errors']}")
            made: str = payload["session"]["id"]
            return made

        ids = await asyncio.gather(*map(create, range(subscribers)))
        sockets = [await _subscribe(urls[number // 2 % 2], one) for number, one in enumerate(ids)]
        readers = [asyncio.create_task(_read(socket, one, measured)) for socket, one in zip(sockets, ids, strict=True)]
        await asyncio.sleep(SETTLE_SECONDS)
        begun, changes = time.perf_counter(), []
        for number in range(int(changes_per_second * seconds)):
            await asyncio.sleep(begun + number / changes_per_second - time.perf_counter())
            changes.append(
                asyncio.create_task(_change(http, urls[number % 2], ids[number % len(ids)], number, measured))
            )
        await asyncio.gather(*changes)
        await asyncio.sleep(SETTLE_SECONDS)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*(socket.close() for socket in sockets), *readers, return_exceptions=True)


async def _subscribe(url: str, session_id: str) -> ClientConnection:
    socket = await connect(
        "ws" + url.removeprefix("http") + "/graphql",
        subprotocols=[Subprotocol("graphql-transport-ws")],
        compression=None,
        ping_interval=None,
    )
    await socket.send(json.dumps({"type": "connection_init"}))
    await socket.recv()
    payload = {"query": EVENTS, "variables": {"id": session_id}}
    await socket.send(json.dumps({"id": "1", "type": "subscribe", "payload": payload}))
    return socket


async def _read(socket: ClientConnection, session_id: str, measured: Measured) -> None:
    async for raw in socket:
        at = time.perf_counter()
        if json.loads(raw)["type"] != "next":
            continue
        if b"errors" in raw if isinstance(raw, bytes) else '"errors"' in raw:
            raise RuntimeError(f"a stream failed: {raw!r}")
        if (change := measured.waiting.pop(session_id, None)) is None:
            measured.strays += 1
        else:
            change.told = at


async def _change(http: httpx.AsyncClient, url: str, session_id: str, number: int, measured: Measured) -> None:
    change = measured.waiting[session_id] = Change(time.perf_counter())
    measured.changes.append(change)
    body = {"query": CHANGE, "variables": {"id": session_id, "v": str(number)}}
    answer = await http.post(f"{url}/graphql", json=body)
    change.answered = time.perf_counter()
    errors = answer.json()["data"]["updateSession"]["errors"]
    if errors:
        raise RuntimeError(f"a change was refused: {errors}")


def _row(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100)
    return f"{cuts[49] * 1e3:.1f} | {cuts[98] * 1e3:.1f} | {max(seconds) * 1e3:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--changes-per-second", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    asyncio.run(main(given.subscribers, given.changes_per_second, given.seconds))
