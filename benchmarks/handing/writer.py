"""Owns a pod process that writes a record to the sink for each of its tiles, twenty times a second.

Run as a process: `python -m handing.writer <GraphQL URL> <sink's Redis URL> <pod id>`; it runs until ended.
"""

import asyncio
import sys
import time
from collections.abc import Sequence

from subgraph.client.connection import Connection
from subgraph.client.manager import OwnedTerm, Takeover, TileLoad
from subgraph.client.pod import PodClient, PodRegistration
from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import WRITES_PER_CALL_MAX, EpochRefused, SinkRecord, SinkWrite

SINK_NAME = "handovers"
RECORDS_PER_SECOND = 20
CAPACITY = 1e6
STREAM_LENGTH_MAX = 5_000_000


class Writer:
    """The work: a record of each tile in every turn, numbered on from what the sink has."""

    def __init__(self, sink: RedisSink) -> None:
        self._sink = sink
        self._held: dict[str, tuple[int, int]] = {}  # tile: epoch, last sequence
        self._turn = asyncio.Lock()
        self.client: PodClient | None = None

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        """Nothing is to be warmed up."""

    async def activate(self, takeovers: Sequence[Takeover]) -> dict[str, int]:
        """Fence off the former owners, and go on where the sink says they stopped."""
        refused = {}
        for one, position in zip(takeovers, await self._sink.take_over(takeovers), strict=True):
            if isinstance(position, EpochRefused):
                refused[one.tile_id] = position.highest_epoch
            else:
                self._held[one.tile_id] = one.epoch, position.last_sequence
        return refused

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        """Stop; the turn under way is finished first."""
        async with self._turn:
            for tile_id, epoch in terms:
                if tile_id in self._held and self._held[tile_id][0] == epoch:
                    del self._held[tile_id]

    def loads(self) -> Sequence[TileLoad]:
        """The rate, which is the same for all."""
        return [TileLoad(tile_id, epoch, float(RECORDS_PER_SECOND)) for tile_id, (epoch, _) in self._held.items()]

    async def work(self) -> None:
        """Write until cancelled."""
        due_at = time.monotonic()
        while True:
            async with self._turn:
                await self._write()
            due_at = max(time.monotonic(), due_at + 1 / RECORDS_PER_SECOND)
            await asyncio.sleep(due_at - time.monotonic())

    async def _write(self) -> None:
        assert self.client is not None
        writes = [
            SinkWrite(tile_id, epoch, (SinkRecord(last + 1, b""),))
            for tile_id, (epoch, last) in self._held.items()
            if self.client.may_work(tile_id, epoch)
        ]
        for start in range(0, len(writes), WRITES_PER_CALL_MAX):
            chunk = writes[start : start + WRITES_PER_CALL_MAX]
            for write, receipt in zip(chunk, await self._sink.write_many(chunk), strict=True):
                if write.tile_id not in self._held or self._held[write.tile_id][0] != write.epoch:
                    continue
                if isinstance(receipt, EpochRefused):
                    del self._held[write.tile_id]
                else:
                    self._held[write.tile_id] = write.epoch, receipt.last_sequence


async def main(url: str, sink_url: str, pod_id: str) -> None:
    """Be a pod until ended."""
    async with Connection(url) as manager, connect(sink_url) as redis:
        worker = Writer(RedisSink(redis, SINK_NAME, pod_id, STREAM_LENGTH_MAX))
        worker.client = PodClient(manager, PodRegistration(pod_id, "writer", CAPACITY), worker)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(worker.client.run())
            tasks.create_task(worker.work())


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
