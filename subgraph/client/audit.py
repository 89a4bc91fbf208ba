"""Owns the audit of a sink: it counts what was accepted from the sink's stream alone, and trusts none of its checks.

The auditor reads what a sink says it accepted and remembers every sequence of every tile, so a record that was accepted
twice, or by an owner whose term was over, is found whether or not the sink noticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from subgraph.client.intervals import Intervals
from subgraph.client.redis_sink import sink_key

ENTRIES_PER_READ_MAX = 1_000


class AuditInterrupted(Exception):
    """The stream has had fewer entries than were read of it: its Redis lost it. What was found so far still holds."""


@dataclass(frozen=True, slots=True)
class AuditFindings:
    """What the stream shows. A sound sink has no `accepted_twice` and no `below_highest_epoch`."""

    accepted: int
    """Records accepted, each time counted."""
    accepted_twice: int
    """Records accepted although they had been before."""
    below_highest_epoch: int
    """Entries of an epoch lower than one seen earlier in the stream for their tile."""
    gaps: int
    """Sequences never accepted between the lowest and the highest accepted of their tile."""
    entries_lost: int
    """Entries trimmed before they were read; with any, the other counts are incomplete, and `gaps` may come of it."""


@dataclass(slots=True)
class _Tile:
    highest_epoch: int = 0
    sequences: Intervals = field(default_factory=Intervals)


class SinkAudit:
    """An incremental reader of one sink's stream, from its beginning. Memory: a little per tile, and per hole in it."""

    def __init__(self, redis: Redis, name: str) -> None:
        self._redis = redis
        self._stream = sink_key(name, "accepted")
        self._cursor = "0-0"
        self._entries_read = 0
        self._entries_lost = 0
        self._accepted = 0
        self._accepted_twice = 0
        self._below_highest_epoch = 0
        self._tiles: dict[str, _Tile] = {}

    @property
    def findings(self) -> AuditFindings:
        """What has been found up to the last read."""
        gaps = sum(tile.sequences.holes for tile in self._tiles.values())
        return AuditFindings(self._accepted, self._accepted_twice, self._below_highest_epoch, gaps, self._entries_lost)

    def accepted_spans(self, tile_id: str) -> list[tuple[int, int]]:
        """The sequences accepted for a tile, as first and last of each consecutive span."""
        tile = self._tiles.get(tile_id)
        return tile.sequences.spans if tile else []

    async def follow(self, entries_max: int = ENTRIES_PER_READ_MAX) -> int:
        """Read on, `entries_max` entries at most, and answer how many there were; 0 means that all are read.

        Raises:
            AuditInterrupted: the stream was lost since the last read.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.xinfo_stream(self._stream)
            pipeline.xrange(self._stream, f"({self._cursor}", count=entries_max)
            info, entries = await pipeline.execute(raise_on_error=False)
        if isinstance(info, ResponseError) and "no such key" in str(info):
            info = {"entries-added": 0, "length": 0}
        for answer in (info, entries):
            if isinstance(answer, Exception):
                raise answer
        self._notice_losses(info["entries-added"], info["length"])
        for entry_id, fields in entries:
            self._take({_text(name): _text(value) for name, value in fields.items()})
            self._cursor = _text(entry_id)
            self._entries_read += 1
        return len(entries)

    def _notice_losses(self, entries_added: int, length: int) -> None:
        seen = self._entries_read + self._entries_lost
        if entries_added < seen:
            raise AuditInterrupted(f"{self._stream} has had {entries_added:,} entries, but {seen:,} were seen of it")
        self._entries_lost += max(0, entries_added - length - seen)

    def _take(self, entry: Mapping[str, str]) -> None:
        tile = self._tiles.setdefault(entry["tile"], _Tile())
        epoch, first, count = int(entry["epoch"]), int(entry["first"]), int(entry["count"])
        if epoch < tile.highest_epoch:
            self._below_highest_epoch += 1
        tile.highest_epoch = max(tile.highest_epoch, epoch)
        self._accepted += count
        self._accepted_twice += tile.sequences.add(first, count)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
