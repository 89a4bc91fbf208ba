"""Owns requests to the leader: a list in Redis carries them, and each answer has a key of its own."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from secrets import token_urlsafe
from typing import Any

import msgspec
from redis.asyncio import Redis

from subgraph.adapters.redis.connection import one_connection, told_as_unavailable
from subgraph.domain.errors import Unavailable

logger = logging.getLogger(__name__)

ANSWERS_KEPT_MS = 30_000
ASKING_MAX = 32
"""Most callers of one process that wait for an answer at a time: each holds a connection of its own."""

REQUESTS_WAITING_MAX = 1_000
"""While nobody leads, the oldest of more requests are given up; they would have been answered too late."""


class LeaderRequests:
    """The requests to the leader of one fleet, from the side of those who ask and of the one who answers."""

    def __init__(self, redis: Redis, key: Callable[[str], str]) -> None:
        self._redis = redis
        self._key = key
        self._asking = 0

    async def ask(self, request: bytes, now_ms: int, timeout_seconds: float) -> bytes | None:
        """Hand a request in, and wait for the answer; None: it did not come in time.

        Raises:
            Unavailable: Redis does not answer, or `ASKING_MAX` callers wait already.
        """
        if self._asking >= ASKING_MAX:
            raise Unavailable(f"{ASKING_MAX} requests of this process wait for the leader already", 1.0)
        self._asking += 1
        try:
            # Not from the pool of everything else: leases must be renewed while others wait here.
            async with one_connection(self._redis) as redis:
                with told_as_unavailable():
                    return await self._ask(redis, request, now_ms + int(timeout_seconds * 1_000), timeout_seconds)
        finally:
            self._asking -= 1

    async def _ask(self, redis: Redis, request: bytes, deadline_ms: int, timeout_seconds: float) -> bytes | None:
        request_id = token_urlsafe(12)
        async with redis.pipeline(transaction=False) as pipeline:
            pipeline.rpush(self._key("requests"), msgspec.msgpack.encode((request_id, deadline_ms, request)))
            pipeline.ltrim(self._key("requests"), -REQUESTS_WAITING_MAX, -1)
            await pipeline.execute()
        give_up_at = time.monotonic() + timeout_seconds
        while (left := give_up_at - time.monotonic()) > 0:
            # Shorter than the client's own time-out for any answer, which would end the wait with an error.
            answered = await _reply(redis.blpop([self._key(f"answer:{request_id}")], min(left, 1.0)))
            if answered:
                return bytes(answered[1])
        return None

    async def answer(self, request_id: str, answer: bytes) -> None:
        """Answer a request taken before."""
        key = self._key(f"answer:{request_id}")
        with told_as_unavailable():
            await _reply(self._redis.rpush(key, answer))
            await self._redis.pexpire(key, ANSWERS_KEPT_MS)


def open_requests(taken: Sequence[bytes], now_ms: int) -> list[tuple[str, bytes]]:
    """Of requests taken from the list, those whose callers still wait, with their ids; unreadable ones are dropped."""
    still_open: list[tuple[str, bytes]] = []
    for raw in taken:
        try:
            request_id, deadline_ms, request = msgspec.msgpack.decode(raw, type=tuple[str, int, bytes])
        except msgspec.MsgspecError as error:
            logger.warning("a request to the leader cannot be read, and nobody can be answered: %s", error)
            continue
        if deadline_ms > now_ms:
            still_open.append((request_id, request))
    return still_open


async def _reply(reply: Awaitable[Any] | Any) -> Any:
    # redis-py types its commands for the blocking and the asyncio client at once.
    return await reply
