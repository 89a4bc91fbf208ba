"""Owns the sink in Redis: one script passes the fence and writes, for many tiles in one round trip.

Its fence lasts as long as what that Redis keeps. Of the payloads it holds only the newest of each tile: it shows the
fence and is no database.
"""

from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis

from subgraph.client.sink import (
    EpochRefused,
    SinkPosition,
    SinkReceipt,
    SinkRecord,
    SinkTotals,
    SinkWrite,
    TileSink,
    check_names,
    check_writes,
)

ACCEPTED_LENGTH_MAX = 100_000


def sink_key(name: str, part: str) -> str:
    """A key of a sink; its name is the hash tag, so that one script may touch all of them in a cluster."""
    return f"session-manager:{{{name}}}:sink:{part}"


class RedisSink(TileSink):
    """One sink, as seen by one writer. The client must not decode responses: payloads are bytes.

    `writer` labels what this process wrote in the stream `...:sink:accepted`, which keeps about the last
    `accepted_length_max` entries for the audit.
    """

    def __init__(self, redis: Redis, name: str, writer: str, accepted_length_max: int = ACCEPTED_LENGTH_MAX) -> None:
        check_names(name, writer)
        if "{" in name or "}" in name:
            raise ValueError(f"a sink's name in Redis has no braces, unlike {name!r}")
        if accepted_length_max < 1:
            raise ValueError("the stream of accepted records must be allowed at least one entry")
        self._redis = redis
        self._keys = [sink_key(name, part) for part in ("positions", "payloads", "totals", "accepted")]
        self._head: list[str | int] = [writer, accepted_length_max]
        self._script = redis.register_script(
            (files("subgraph.client") / "scripts" / "write.lua").read_text(encoding="utf-8")
        )

    async def positions(self, tile_ids: Sequence[str]) -> list[SinkPosition]:
        """Where tiles stand, without raising anything."""
        if not tile_ids:
            return []
        stored = await self._redis.hmget(self._keys[0], list(tile_ids))
        return [_position(found) for found in stored]

    async def write_many(self, writes: Sequence[SinkWrite]) -> list[SinkReceipt | EpochRefused]:
        """Write to many tiles in one round trip; a refused write is answered in its place and hinders no other.

        Raises:
            WriteTooLarge: a write is too large, or all together are (`WRITES_PER_CALL_MAX`, `RECORDS_PER_CALL_MAX`).
        """
        check_writes(writes)
        arguments: list[str | int | bytes] = [*self._head]
        for write in writes:
            arguments += _arguments(write)
        if not writes:
            return []
        answers = await self._script(keys=self._keys, args=arguments)
        return [_answer(write.tile_id, answer) for write, answer in zip(writes, answers, strict=True)]

    async def newest_payload(self, tile_id: str) -> bytes | None:
        """The payload of the last record accepted for the tile."""
        payload = await self._redis.hget(self._keys[1], tile_id)
        return payload.encode() if isinstance(payload, str) else payload

    async def totals(self) -> SinkTotals:
        """What this sink has taken and turned away since ever, from all writers."""
        counts = await self._redis.hmget(self._keys[2], ["accepted", "duplicates", "refused", "missed"])
        return SinkTotals(*(int(count or 0) for count in counts))


def _position(stored: bytes | str | None) -> SinkPosition:
    text = stored.decode() if isinstance(stored, bytes) else stored or "0|0"
    epoch, _, last = text.partition("|")
    return SinkPosition(int(epoch), int(last))


def _arguments(write: SinkWrite) -> list[str | int | bytes]:
    tile_id, epoch, records = write
    # Only the newest payload is stored, so only that one travels; consecutive sequences travel as one run.
    newest = SinkRecord(0, b"")
    runs: list[int] = []
    following = 0
    for record in records:
        if record.sequence > newest.sequence:
            newest = record
        if record.sequence == following:
            runs[-1] += 1
        else:
            runs += (record.sequence, 1)
        following = record.sequence + 1
    return [tile_id, epoch, newest.payload, len(runs) // 2, *runs]


def _answer(tile_id: str, answer: list[Any]) -> SinkReceipt | EpochRefused:
    is_accepted, *numbers = answer
    return SinkReceipt(*numbers) if is_accepted else EpochRefused(tile_id, *numbers)
