"""Owns the log of changes that history has not recorded: a stream of notes that every commit of tiles appends to."""

import asyncio
import logging
from typing import cast

from redis.asyncio import Redis

from subgraph.adapters.redis import codec
from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.fleet_scripts import fleet_script
from subgraph.adapters.redis.keys import fleet_key, fleet_keys
from subgraph.operations.history.term_history import LoggedChange, LoggedStretch

logger = logging.getLogger(__name__)

ENTRIES_PER_READ = 50
"""An entry holds at most 100 changes; mostly it holds few."""

_Entry = tuple[bytes, dict[bytes, bytes]]


class RedisTermLog:
    """The TermLog port on one Redis and one fleet id."""

    def __init__(self, redis: Redis, fleet_id: str) -> None:
        self._redis = redis
        self._key, self._keys = fleet_key(fleet_id, "terms"), fleet_keys(fleet_id)
        self._forget = fleet_script(redis, "forget_terms")

    async def read(self) -> LoggedStretch:
        """The oldest changes that are not forgotten."""
        with told_as_unavailable():
            entries = cast("list[_Entry]", await self._redis.xrange(self._key, count=ENTRIES_PER_READ))
        if not entries:
            return LoggedStretch((), None, has_more=False)
        end = int(entries[-1][0].partition(b"-")[0])
        # In a thread, as thousands of changes would keep everything else of the process waiting.
        changes = await asyncio.to_thread(_decoded, entries)
        return LoggedStretch(changes, end, len(entries) == ENTRIES_PER_READ)

    async def forget(self, end: int) -> None:
        """Forget everything up to the end of a stretch."""
        with told_as_unavailable():
            await self._forget(keys=self._keys, args=[end])


def _decoded(entries: list[_Entry]) -> tuple[LoggedChange, ...]:
    changes: list[LoggedChange] = []
    for entry_id, fields in entries:
        try:
            changes += codec.decode_notes(fields, int(entry_id.partition(b"-")[0]))
        except codec.Unreadable as error:
            # Whoever else writes into the stream must not end the process that reads it.
            logger.warning("notes up to %s are passed over: %s", entry_id.decode(), error)
    return tuple(changes)
