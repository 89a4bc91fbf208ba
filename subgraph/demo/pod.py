"""Owns a pod process of the demo: it counts the position records of its tiles and writes them to the fenced sink.

It uses what any data-processing service would: the pod client, the sink, and nothing of the server.
"""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from subgraph.client.connection import Connection
from subgraph.client.fleet_redis import FleetRedis
from subgraph.client.manager import CallRefused, OwnedTerm, Superseded, Takeover, TileLoad
from subgraph.client.pod import PodClient, PodRegistration
from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import (
    RECORDS_PER_WRITE_MAX,
    EpochRefused,
    SinkPosition,
    SinkReceipt,
    SinkWrite,
)
from subgraph.demo.channel import RECORD, TileChannel
from subgraph.demo.handover import Handover

T = TypeVar("T")

logger = logging.getLogger(__name__)

SINK_NAME = "demo"
IDLE_SECONDS = 0.05
LEAVE_SECONDS_MAX = 8.0


class FlightCounter:
    """The work: read each owned tile's records, write them to the sink under the tile's epoch, count them."""

    def __init__(self, redis: Redis, pod_id: str) -> None:
        self._sink = RedisSink(redis, SINK_NAME, pod_id)
        self._channel = TileChannel(redis)
        self._handover = Handover(redis)
        self._epochs: dict[str, int] = {}
        self._positions: dict[str, int] = {}
        self._counts: Counter[str] = Counter()
        self._counted_since = time.monotonic()
        self._turn = asyncio.Lock()
        self.client: PodClient | None = None

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        """Nothing is to be warmed up for counting."""

    async def activate(self, takeovers: Sequence[Takeover]) -> dict[str, int]:
        """Fence off the former owners, and go on where the sink says they stopped; also with what tiles split left."""
        positions = await self._answered(lambda: self._sink.take_over(takeovers))
        taken: list[tuple[Takeover, SinkPosition]] = []
        refused: dict[str, int] = {}
        for one, position in zip(takeovers, positions, strict=True):
            if isinstance(position, EpochRefused):
                refused[one.tile_id] = position.highest_epoch
            else:
                taken.append((one, position))
        await self._answered(lambda: self._hand_over([one for one, _ in taken if one.replaces]))
        for one, position in taken:
            self._epochs[one.tile_id] = one.epoch
            self._positions[one.tile_id] = position.last_sequence
        return refused

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        """Stop; the turn under way is finished first."""
        async with self._turn:
            for tile_id, epoch in terms:
                if self._epochs.get(tile_id) == epoch:
                    self._forget(tile_id)

    def loads(self) -> Sequence[TileLoad]:
        """Records and bytes a second since the last report."""
        now = time.monotonic()
        elapsed, self._counted_since = max(now - self._counted_since, 1e-3), now
        counts, self._counts = self._counts, Counter()
        return [
            TileLoad(tile_id, epoch, counts[tile_id] / elapsed, counts[tile_id] * RECORD.itemsize / elapsed)
            for tile_id, epoch in self._epochs.items()
        ]

    async def work(self) -> None:
        """Take turns until cancelled."""
        while True:
            try:
                async with self._turn:
                    has_tiles = bool(self._positions)
                    if has_tiles:
                        await self._take_turn()
            except (RedisError, OSError) as error:
                # Also what a long pause looks like on waking up: answers that came too late.
                logger.warning("the turn is taken again: %s", error)
                has_tiles = False
            if not has_tiles:
                await asyncio.sleep(IDLE_SECONDS)

    async def _take_turn(self) -> None:
        assert self.client is not None
        found = await self._channel.read(self._positions)
        writes = [
            SinkWrite(tile_id, self._epochs[tile_id], records[:RECORDS_PER_WRITE_MAX])
            for tile_id, records in found.items()
            # The lease is asked for each tile, right before the write: after a pause the answer is no.
            if records and tile_id in self._epochs and self.client.may_work(tile_id, self._epochs[tile_id])
        ]
        for start in range(0, len(writes), 10):
            chunk = writes[start : start + 10]
            for write, receipt in zip(chunk, await self._write(chunk), strict=True):
                if isinstance(receipt, EpochRefused):
                    self._forget(write.tile_id)
                elif self._epochs.get(write.tile_id) == write.epoch:
                    self._positions[write.tile_id] = receipt.last_sequence
                    self._counts[write.tile_id] += receipt.accepted

    async def _hand_over(self, takeovers: Sequence[Takeover]) -> None:
        replaced = list(dict.fromkeys(tile_id for one in takeovers for tile_id in one.replaces))
        positions = await self._sink.positions(replaced)
        accepted = {tile_id: one.last_sequence for tile_id, one in zip(replaced, positions, strict=True)}
        await self._handover.take_over(takeovers, accepted)

    async def _write(self, writes: Sequence[SinkWrite]) -> list[SinkReceipt | EpochRefused]:
        return await self._answered(lambda: self._sink.write_many(writes))

    async def _answered(self, call: Callable[[], Awaitable[T]]) -> T:
        # Every call may be made again, so what is away is only waited for; the fence decides when it is back.
        while True:
            try:
                return await call()
            except (RedisError, OSError) as error:
                logger.warning("Redis does not answer: %s", error)
                await asyncio.sleep(IDLE_SECONDS)

    def _forget(self, tile_id: str) -> None:
        self._epochs.pop(tile_id, None)
        self._positions.pop(tile_id, None)
        self._counts.pop(tile_id, None)


@dataclass(frozen=True, slots=True)
class Places:
    """Where a pod finds the session manager, the records and the sink, and (if it renews there) the fleet's Redis."""

    url: str
    redis_url: str
    fleet_redis_url: str | None = None
    fleet: str = "default"


async def run_pod(places: Places, registration: PodRegistration, access_token: str | None) -> None:
    """Be a pod until SIGTERM, which makes it hand its tiles over and leave."""
    async with contextlib.AsyncExitStack() as closing:
        manager = await closing.enter_async_context(Connection(places.url, access_token))
        redis = await closing.enter_async_context(connect(places.redis_url))
        direct = None
        if places.fleet_redis_url is not None:
            direct = await closing.enter_async_context(FleetRedis(places.fleet_redis_url, places.fleet))
        worker = FlightCounter(redis, registration.pod_id)
        client = PodClient(manager, registration, worker, direct=direct)
        worker.client = client
        loop = asyncio.get_running_loop()
        # Ctrl-C reaches the whole terminal; who leaves, and when, is for the demo to say.
        loop.add_signal_handler(signal.SIGINT, lambda: None)
        work = asyncio.create_task(worker.work())
        life = asyncio.create_task(client.run())
        loop.add_signal_handler(signal.SIGTERM, lambda: _leave(client, life))
        try:
            await asyncio.wait({work, life}, return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(asyncio.CancelledError):
                await (work if work.done() else life)
        finally:
            for task in (work, life):
                task.cancel()
            await asyncio.gather(work, life, return_exceptions=True)


def _leave(client: PodClient, life: "asyncio.Task[None]") -> None:
    client.leave()
    asyncio.get_running_loop().call_later(LEAVE_SECONDS_MAX, life.cancel)


def main() -> None:
    """Read the command line, and be a pod."""
    parser = argparse.ArgumentParser(description="A pod of the flight demo.")
    parser.add_argument("--url", required=True, help="the session manager's GraphQL endpoint")
    parser.add_argument("--redis-url", required=True, help="where the records and the sink are")
    parser.add_argument("--fleet-redis-url", help="the fleet's Redis: renew the lease and report there, past GraphQL")
    parser.add_argument("--fleet", default="default", help="the fleet's id")
    parser.add_argument("--id", required=True, help="the pod's id")
    parser.add_argument("--capacity", type=float, required=True, help="records a second it can bear")
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format=f"{chosen.id} %(levelname)s %(message)s")
    logging.getLogger("gql").setLevel(logging.ERROR)
    registration = PodRegistration(chosen.id, "flight-counter", chosen.capacity)
    places = Places(chosen.url, chosen.redis_url, chosen.fleet_redis_url, chosen.fleet)
    token = os.environ.get("SESSION_MANAGER_ACCESS_TOKEN")
    try:
        asyncio.run(run_pod(places, registration, token))
    except (Superseded, CallRefused) as error:
        raise SystemExit(f"{chosen.id}: {error}") from None


if __name__ == "__main__":
    main()
