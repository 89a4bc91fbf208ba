"""Owns the way of position records from the feeder to the pods: one Redis stream a tile, batches with rising sequences.

A stream's entry is a batch; its id is the sequence of its last record, so a new owner reads on right after what the
sink has accepted last. Streams are bounded: what nobody reads for long falls out, and the sink counts it as missed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from redis.asyncio import Redis

from subgraph.client.sink import SinkRecord

BATCHES_PER_TILE_MAX = 500
RECORD = np.dtype([("flight", "<i4"), ("second_of_day", "<f4"), ("lat", "<f4"), ("lng", "<f4")])
"""One position on the wire."""

READ_COUNT = 50
READ_BLOCK_MS = 100

Records = npt.NDArray[np.void]


def _stream(tile_id: str) -> str:
    return f"session-manager:demo:{tile_id}"


class TileChannel:
    """The streams of all tiles, as the feeder and the pods use them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._sequences: dict[str, int] = {}

    @property
    def sent(self) -> int:
        """Records sent by this process."""
        return sum(self._sequences.values())

    async def send(self, batches: Mapping[str, Records]) -> None:
        """Append a batch to each tile's stream, in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipeline:
            for tile_id, records in batches.items():
                last = self._sequences.get(tile_id, 0) + len(records)
                self._sequences[tile_id] = last
                pipeline.xadd(
                    _stream(tile_id),
                    {b"records": records.tobytes()},
                    f"{last}-0",
                    BATCHES_PER_TILE_MAX,
                    approximate=True,
                )
            await pipeline.execute()

    async def read(self, positions: Mapping[str, int]) -> dict[str, list[SinkRecord]]:
        """The records after a sequence, per tile; waits a moment where there are none at all."""
        wanted = {_stream(tile_id): f"{sequence}-0" for tile_id, sequence in positions.items()}
        answer: Any = await self._redis.xread(wanted, READ_COUNT, READ_BLOCK_MS)  # type: ignore[arg-type]
        streams = answer.items() if isinstance(answer, dict) else answer or ()
        found: dict[str, list[SinkRecord]] = {}
        for stream, entries in streams:
            tile_id = stream.decode().removeprefix("session-manager:demo:")
            found[tile_id] = [record for entry in _entries(entries) for record in entry]
        return found

    async def delete(self) -> None:
        """Remove the streams this process has written."""
        if self._sequences:
            await self._redis.unlink(*map(_stream, self._sequences))


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
