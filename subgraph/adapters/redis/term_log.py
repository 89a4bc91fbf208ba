"""Owns the log of changes that history has not recorded: a stream that every commit of tiles appends to."""

import logging
from typing import cast

from redis.asyncio import Redis

from subgraph.adapters.redis import codec
from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.adapters.redis.keys import fleet_key
from subgraph.operations.term_history import LOGGED_PER_READ_MAX, LoggedChange, LoggedStretch

logger = logging.getLogger(__name__)

_Entry = tuple[bytes, dict[bytes, bytes]]


class RedisTermLog:
    """The TermLog port on one Redis and one fleet id."""

    def __init__(self, redis: Redis, fleet_id: str) -> None:
        self._redis = redis
        self._key = fleet_key(fleet_id, "terms")

    async def read(self, changes_max: int = LOGGED_PER_READ_MAX) -> LoggedStretch:
        """The oldest changes that are not forgotten."""
        with told_as_unavailable():
            entries = cast("list[_Entry]", await self._redis.xrange(self._key, count=changes_max))
        changes: list[LoggedChange] = []
        for entry_id, fields in entries:
            try:
                changes.append(codec.decode_logged(fields))
            except codec.Unreadable as error:
                # Whoever else writes into the stream must not end the process that reads it.
                logger.warning("%s is passed over: %s", entry_id.decode(), error)
        return LoggedStretch(tuple(changes), entries[-1][0].decode() if entries else None)

    async def forget(self, end: str) -> None:
        """Forget everything up to the end of a stretch."""
        milliseconds, _, sequence = end.partition("-")
        with told_as_unavailable():
            await self._redis.xtrim(self._key, minid=f"{milliseconds}-{int(sequence) + 1}", approximate=False)
