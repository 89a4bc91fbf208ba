"""From a change to its subscriber: 1,000 subscribers of as many sessions, on two replicas, 100 changes a second.

    python benchmarks/streams.py [--subscribers 1000] [--changes-per-second 100] [--seconds 10]

Two servers share one database and one Valkey, one to a half of the subscribers each; every subscriber follows one
session over a WebSocket of its own. Changes are asked of both servers in turn, so half of them are told by the replica
that did not make them. Each change is an extendSession, which costs little by itself. Its answer says that it is
committed: from there to the event is the streams' own share; from the request on, the change itself is in it.

The servers have the first and the last core, and the client the one between; where there is none, it shares theirs.
"""

import argparse
import asyncio
import math
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from peers.processes import CpuSeconds, cpu_seconds, on_core
from streaming.asking import Asker
from streaming.subscriber import Subscriber

from subgraph.adapters.data_directory import DATABASE_NAME
from subgraph.adapters.sql.database import sqlite_url
from tests.support.server import RunningServer, running_server

CREATE = """mutation($n: Int!) { createSession(input: {version: $n}) {
  session { id } errors { message } } }"""
CHANGE = 'mutation($id: ID!) { extendSession(input: {id: $id, ttl: "PT1H"}) { errors { message } } }'
EVENTS = "subscription($id: ID!) { sessionEvents(sessionId: $id) { sequence type } }"
CREATING_AT_ONCE = 20
SETTLE_SECONDS = 2.0
TOLD_SECONDS_BAR = 0.05


@dataclass
class Change:
    """When a change was sent, answered and told, in seconds."""

    sent: float
    answered: float = math.nan
    told: float = math.nan


@dataclass
class Measured:
    """All changes, of each session the one that is to be told next, and the processor time that they took."""

    changes: list[Change] = field(default_factory=list)
    waiting: dict[str, Change] = field(default_factory=dict)
    strays: int = 0
    failures: list[str] = field(default_factory=list)
    servers: CpuSeconds = field(default_factory=lambda: CpuSeconds(0.0, 0.0))
    client_seconds: float = 0.0

    def take(self, session_id: str, message: bytes) -> None:
        """Take what a subscriber of a session was sent."""
        at = time.perf_counter()
        if b'"type":"next"' not in message.replace(b" ", b"") or b'"errors"' in message:
            self.failures.append(message.decode())
        elif (change := self.waiting.pop(session_id, None)) is None:
            self.strays += 1
        else:
            change.told = at


async def main(subscribers: int, changes_per_second: int, seconds: float) -> None:
    """Measure, and print the table."""
    measured = Measured()
    with tempfile.TemporaryDirectory(prefix="sm-bench-") as directory, two_servers(Path(directory)) as servers:
        await _measure(servers, subscribers, changes_per_second, seconds, measured)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    print("| subscribers | changes/s | changes | | p50, ms | p99, ms | highest, ms | not told |")
    print("| ---: | ---: | ---: | --- | ---: | ---: | ---: | ---: |")
    told = [change for change in measured.changes if not math.isnan(change.told)]
    head = f"| {subscribers:,} | {changes_per_second:,} | {len(measured.changes):,} |"
    # An event may overtake the answer.
    own_share = [max(0.0, one.told - one.answered) for one in told]
    print(f"{head} commit (its answer) → event | {_row(own_share)} | {len(measured.changes) - len(told)} |")
    print(f"{head} request → event | {_row([one.told - one.sent for one in told])} | |")
    print(f"{head} request → answer | {_row([one.answered - one.sent for one in told])} | |")
    used = (measured.servers.server, measured.servers.store, measured.client_seconds)
    each = [f"{one / len(measured.changes) * 1e3:.2f} ms" for one in used]
    print(f"\nProcessor time a change: servers {each[0]}, Valkey {each[1]}, this client {each[2]}")
    share = statistics.quantiles(own_share, n=100, method="inclusive")[98]
    print(f"commit → event, p99 ≤ {TOLD_SECONDS_BAR * 1e3:g} ms: {'holds' if share <= TOLD_SECONDS_BAR else 'MISSED'}")
    if measured.strays or measured.failures:
        sys.exit(f"{measured.strays} events came to somebody they were not for; {measured.failures[:3]}")


@contextmanager
def two_servers(directory: Path) -> Iterator[list[RunningServer]]:
    """Two replicas on one database and one Valkey, each on a core of its own if there are two."""
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    with ExitStack() as cleanups:
        with on_core(first):
            one = cleanups.enter_context(running_server(directory / "one"))
        shared = ("--database-url", sqlite_url(directory / "one" / DATABASE_NAME), "--redis-url", one.redis_url)
        with on_core(last):
            two = cleanups.enter_context(running_server(directory / "two", *shared))
        if between := os.sched_getaffinity(0) - {first, last}:
            cleanups.enter_context(on_core(min(between)))
        yield [one, two]


async def _measure(
    servers: Sequence[RunningServer], subscribers: int, changes_per_second: int, seconds: float, measured: Measured
) -> None:
    ports = [int(server.url.rpartition(":")[2]) for server in servers]
    askers = [Asker(port) for port in ports]
    gate = asyncio.Semaphore(CREATING_AT_ONCE)

    async def create(number: int) -> str:
        async with gate:
            data = await askers[number % 2].ask({"query": CREATE, "variables": {"n": number + 1}})
        if data["createSession"]["errors"]:
            raise RuntimeError(f"a session was refused: {data['createSession']['errors']}")
        made: str = data["createSession"]["session"]["id"]
        return made

    async def change(number: int, session_id: str) -> None:
        one = measured.waiting[session_id] = Change(time.perf_counter())
        measured.changes.append(one)
        data = await askers[number % 2].ask({"query": CHANGE, "variables": {"id": session_id}})
        one.answered = time.perf_counter()
        if data["extendSession"]["errors"]:
            raise RuntimeError(f"a change was refused: {data['extendSession']['errors']}")

    ids = await asyncio.gather(*map(create, range(subscribers)))
    followers = [await _subscribe(ports[number // 2 % 2], one, measured) for number, one in enumerate(ids)]
    await asyncio.sleep(SETTLE_SECONDS)
    before, client_before = _used(servers), time.process_time()
    begun, changes = time.perf_counter(), []
    for number in range(int(changes_per_second * seconds)):
        await asyncio.sleep(begun + number / changes_per_second - time.perf_counter())
        changes.append(asyncio.create_task(change(number, ids[number % len(ids)])))
    await asyncio.gather(*changes)
    await asyncio.sleep(SETTLE_SECONDS)
    measured.servers, measured.client_seconds = _used(servers) - before, time.process_time() - client_before
    measured.failures += [follower.failure for follower in followers if follower.failure]
    for follower in followers:
        follower.transport.close()
    for asker in askers:
        asker.close()
    # The servers wait for connections to end, and this loop ends them in its next turn.
    await asyncio.sleep(0.1)


async def _subscribe(port: int, session_id: str, measured: Measured) -> Subscriber:
    payload = {"query": EVENTS, "variables": {"id": session_id}}
    made = partial(Subscriber, port, payload, partial(measured.take, session_id))
    _, subscriber = await asyncio.get_running_loop().create_connection(made, "127.0.0.1", port)
    await subscriber.acknowledged
    return subscriber


def _used(servers: Sequence[RunningServer]) -> CpuSeconds:
    return sum((cpu_seconds(server.process.pid) for server in servers), CpuSeconds(0.0, 0.0))


def _row(seconds: list[float]) -> str:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return f"{cuts[49] * 1e3:.1f} | {cuts[98] * 1e3:.1f} | {max(seconds) * 1e3:.1f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--changes-per-second", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    given = parser.parse_args()
    asyncio.run(main(given.subscribers, given.changes_per_second, given.seconds))
