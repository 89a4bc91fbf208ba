"""Owns the way of position records from the feeder to the pods: one Redis stream a tile, batches with rising sequences.

A stream's entry is a batch; its id is the sequence of its last record, so a new owner reads on right after what the
sink has accepted last. Streams are bounded: what nobody reads for long falls out, and the sink counts it as missed.

When tiles split or merge, whoever takes over closes the streams of the tiles that are replaced: from then on nothing
more comes in, the feeder has to find the tiles in their place, and what is left in them is moved there.
"""

from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.typing import KeyT, StreamIdT

from subgraph.client.sink import SinkRecord

BATCHES_PER_TILE_MAX = 500
RECORD = np.dtype([("flight", "<i4"), ("second_of_day", "<f4"), ("lat", "<f4"), ("lng", "<f4")])
"""One position on the wire."""

READ_COUNT = 50
READ_BLOCK_MS = 100
PREFIX = "session-manager:demo:"
HEADS = "session-manager:demo-heads"

Records = npt.NDArray[np.void]


def stream_of(tile_id: str) -> str:
    """The key of a tile's stream."""
    return f"{PREFIX}{tile_id}"


def channel_script(redis: Redis, name: str) -> AsyncScript:
    """A script on the streams; its first key is HEADS."""
    scripts = files("subgraph.demo") / "scripts"
    return redis.register_script((scripts / "prelude.lua").read_text() + (scripts / f"{name}.lua").read_text())


class TileChannel:
    """The streams of all tiles, as the feeder and the pods use them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._append = channel_script(redis, "append")
        self.sent = 0
        """Records this process has appended."""

    async def send(self, batches: Mapping[str, Records]) -> set[str]:
        """Append a batch to each tile's stream, in one round trip; returns the tiles whose streams are closed."""
        if not batches:
            return set()
        arguments: list[str | int | bytes] = [BATCHES_PER_TILE_MAX]
        for tile_id, records in batches.items():
            arguments += (tile_id, len(records), records.tobytes())
        answers = await self._append(keys=[HEADS, *map(stream_of, batches)], args=arguments)
        taken = dict(zip(batches, answers, strict=True))
        self.sent += sum(len(batches[tile_id]) for tile_id, is_taken in taken.items() if is_taken)
        return {tile_id for tile_id, is_taken in taken.items() if not is_taken}

    async def read(self, positions: Mapping[str, int]) -> dict[str, list[SinkRecord]]:
        """The records after a sequence, per tile; waits a moment where there are none at all."""
        wanted: dict[KeyT, StreamIdT] = {stream_of(one): f"{sequence}-0" for one, sequence in positions.items()}
        answer: Any = await self._redis.xread(wanted, READ_COUNT, READ_BLOCK_MS)
        streams = answer.items() if isinstance(answer, dict) else answer or ()
        found: dict[str, list[SinkRecord]] = {}
        for stream, entries in streams:
            tile_id = stream.decode().removeprefix(PREFIX)
            found[tile_id] = [record for entry in _entries(entries) for record in entry]
        return found

    async def delete(self) -> None:
        """Remove all streams."""
        tiles: Any = await self._redis.hkeys(HEADS)
        await self._redis.unlink(HEADS, *(stream_of(tile_id.decode()) for tile_id in tiles))


def _entries(entries: Any) -> Iterator[list[SinkRecord]]:
    # RESP3 wraps a stream's entries in one more list.
    nested = entries and isinstance(entries[0], list) and entries[0] and isinstance(entries[0][0], tuple | list)
    for entry_id, fields in entries[0] if nested else entries:
        payload = fields[b"records"]
        count = len(payload) // RECORD.itemsize
        last = int(entry_id.partition(b"-")[0])
        size = RECORD.itemsize
        yield [
            SinkRecord(last - count + 1 + index, payload[index * size : (index + 1) * size]) for index in range(count)
        ]
