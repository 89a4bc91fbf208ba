"""Owns a flow of records to the tiles of demo pods, and what an independent audit says became of them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
from redis.asyncio import Redis

from subgraph.client.audit import SinkAudit
from subgraph.demo.channel import RECORD, TileChannel
from subgraph.demo.pod import SINK_NAME
from tests.support.polling import eventually

ACCEPT_SECONDS_MAX = 30.0


class RecordFlow:
    """Records of some tiles, all the time, and what the sink says of them."""

    def __init__(self, redis: Redis, tiles: list[str]) -> None:
        self.channel = TileChannel(redis)
        self.audit = SinkAudit(redis, SINK_NAME)
        self._tiles = tiles
        self._stops = asyncio.Event()

    async def send(self) -> None:
        """Send until told to stop."""
        while not self._stops.is_set():
            await self.channel.send({tile: np.zeros(2, RECORD) for tile in self._tiles})
            await asyncio.sleep(0.05)

    def stop(self) -> None:
        """Send no more; what is being sent is finished, and counted."""
        self._stops.set()

    async def accepted_up_to(self) -> dict[str, int]:
        """The last sequence accepted of each tile."""
        while await self.audit.follow():
            pass
        return {tile: ([(0, 0), *self.audit.accepted_spans(tile)])[-1][1] for tile in self._tiles}

    async def assert_all_accepted_once(self) -> None:
        """Wait until the sink has all that was sent, and look whether it has anything twice."""

        async def all_are() -> bool:
            await self.accepted_up_to()
            return self.audit.findings.accepted >= self.channel.sent

        await eventually(all_are, "every record is accepted", ACCEPT_SECONDS_MAX)
        findings = self.audit.findings
        assert (findings.accepted_twice, findings.below_highest_epoch, findings.gaps) == (0, 0, 0)
        assert findings.accepted == self.channel.sent > 0


@asynccontextmanager
async def flowing(redis: Redis, tiles: list[str]) -> AsyncIterator[RecordFlow]:
    """Let records flow; when they stop, every one must have been accepted, and once."""
    flow = RecordFlow(redis, tiles)
    sending = asyncio.create_task(flow.send())
    try:
        yield flow
    finally:
        flow.stop()
        await sending
    await flow.assert_all_accepted_once()
