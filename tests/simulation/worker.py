"""Owns the work of a simulated pod: it writes each tile's records to the sink, under the epoch it was told."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from subgraph.client.manager import OwnedTerm, Takeover, TileLoad
from subgraph.client.sink import EpochRefused, SinkReceipt
from tests.simulation.network import Network, Unanswered
from tests.simulation.sink import RunsWrite, SinkTwin
from tests.simulation.virtual_time import Process

TURN_SECONDS = 1.0
RECORDS_PER_TURN = 3
SINK_ANSWER_SECONDS_MAX = 1.0
SINK_RETRY_SECONDS = 0.1


class Watch(Protocol):
    """Who is told what an instance of a pod is asked to do, and when it has done it."""

    def told_to_prepare(self, writer: str, tile_id: str, epoch: int) -> None: ...

    def has_prepared(self, writer: str, tile_id: str, epoch: int) -> None: ...

    def told_to_work(self, writer: str, tile_id: str, epoch: int) -> None: ...

    def works(self, writer: str, tile_id: str, epoch: int) -> None: ...


@dataclass(slots=True)
class Sluggishness:
    """How long the steps of a handoff take on a pod, at most; a fault makes it longer than the phases' time-outs."""

    seconds_max: float = 0.05


class SinkWorker:
    """A TileWorker that counts up the records of its tiles."""

    def __init__(
        self,
        network: Network,
        process: Process,
        sink: SinkTwin,
        watch: Watch,
        chance: random.Random,
        load_of: Callable[[str], float],
        sluggishness: Sluggishness,
    ) -> None:
        self._network = network
        self._process = process
        self._sink = sink
        self._watch = watch
        self._chance = chance
        self._load_of = load_of
        self._sluggishness = sluggishness
        self._positions: dict[OwnedTerm, int] = {}
        self._turn = asyncio.Lock()
        self.may_work: Callable[[str, int], bool] = lambda tile_id, epoch: False

    async def prepare(self, terms: Sequence[OwnedTerm]) -> None:
        """Warm up."""
        for term in terms:
            self._watch.told_to_prepare(self._process.name, *term)
        await self._take_time()
        for term in terms:
            self._watch.has_prepared(self._process.name, *term)

    async def activate(self, takeovers: Sequence[Takeover]) -> Mapping[str, int]:
        """Shut the former owners out at the sink, those of replaced tiles too, and go on where it says they stopped."""
        for one in takeovers:
            self._watch.told_to_work(self._process.name, one.tile_id, one.epoch)
        await self._take_time()
        raised = [RunsWrite(tile, one.epoch, ()) for one in takeovers for tile in (one.tile_id, *one.replaces)]
        taken = {one.tile_id: one.epoch for one in takeovers}
        refused: dict[str, int] = {}
        for write, receipt in zip(raised, await self._write(raised), strict=True):
            if taken.get(write.tile_id) != write.epoch:
                continue
            if isinstance(receipt, SinkReceipt):
                self._positions[write.tile_id, write.epoch] = receipt.last_sequence
            else:
                refused[write.tile_id] = receipt.highest_epoch
        return refused

    async def release(self, terms: Sequence[OwnedTerm]) -> None:
        """Stop; the turn under way is finished first."""
        await self._take_time()
        async with self._turn:
            for term in terms:
                self._positions.pop(term, None)

    def loads(self) -> Sequence[TileLoad]:
        """What the tiles' records come to."""
        return [TileLoad(tile_id, epoch, self._load_of(tile_id)) for tile_id, epoch in self._positions]

    async def work(self) -> None:
        """Take turns for ever."""
        while True:
            await asyncio.sleep(TURN_SECONDS * self._chance.uniform(0.5, 1.5))
            async with self._turn:
                await self._take_turn()

    async def _take_turn(self) -> None:
        # The lease is asked for each tile, right before the write: what is on its way then is for the fence to judge.
        writes = [
            RunsWrite(tile_id, epoch, [(last + 1, RECORDS_PER_TURN)])
            for (tile_id, epoch), last in self._positions.items()
            if self.may_work(tile_id, epoch)
        ]
        if not writes:
            return
        for write in writes:
            self._watch.works(self._process.name, write.tile_id, write.epoch)
        for write, receipt in zip(writes, await self._write(writes), strict=True):
            term = (write.tile_id, write.epoch)
            if isinstance(receipt, EpochRefused):
                self._positions.pop(term, None)
            elif term in self._positions:
                self._positions[term] = receipt.last_sequence

    async def _write(self, writes: Sequence[RunsWrite]) -> list[SinkReceipt | EpochRefused]:
        while True:
            try:
                return await self._network.ask(
                    self._process, "sink", lambda: self._sink.write(self._process.name, writes), SINK_ANSWER_SECONDS_MAX
                )
            except Unanswered:
                if not self._process.is_alive:
                    raise
                await asyncio.sleep(SINK_RETRY_SECONDS)

    async def _take_time(self) -> None:
        await asyncio.sleep(self._chance.random() * self._sluggishness.seconds_max)
