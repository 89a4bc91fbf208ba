"""Owns how Redis is connected to: a bounded pool, an answer within bounded time, and tasks that can be cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection

CONNECTIONS_MAX = 64
ANSWER_SECONDS_MAX = 5.0


def connect(url: str, *, answer_seconds: float = ANSWER_SECONDS_MAX, connections_max: int = CONNECTIONS_MAX) -> Redis:
    """A client whose calls fail when no answer comes in time; one waits for a connection when all are in use.

    Nothing is tried again by itself: who calls knows whether that is safe, and whether it is still wanted.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections_max,
        timeout=answer_seconds,
        socket_timeout=None,
        socket_connect_timeout=answer_seconds,
    )
    bounds = {"answer_seconds": answer_seconds}
    pool.connection_class = type("BoundedConnection", (_Bounded, pool.connection_class), bounds)
    return Redis.from_pool(pool)


@asynccontextmanager
async def one_connection(redis: Redis) -> AsyncIterator[Redis]:
    """A client to the same Redis with one connection of its own: for who waits on it for long."""
    pool = redis.connection_pool
    own = ConnectionPool(connection_class=pool.connection_class, max_connections=1, **pool.connection_kwargs)
    async with Redis.from_pool(own) as client:
        yield client


class _Bounded(AbstractConnection):
    """Bounds writes and reads in time, as `socket_timeout` would, and without its `asyncio.wait_for`.

    On Python 3.11 that swallows a cancellation which meets the end of what is waited for: a task that was told to stop
    would go on, and whoever waits for its end would wait for ever.

    Tasks that share a connection (the listener and those who subscribe) also take turns to connect it, and none uses it
    before it is: a connection says that it is connected while it still shakes hands.
    """

    answer_seconds = ANSWER_SECONDS_MAX

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._connect_turn = asyncio.Lock()
        self._connecting: asyncio.Task[Any] | None = None

    async def connect_check_health(self, *args: Any, **kwargs: Any) -> None:
        if self._connecting is asyncio.current_task():
            # What is done on a new connection (subscribing again) asks for the connection in turn.
            await super().connect_check_health(*args, **kwargs)
            return
        async with self._connect_turn:
            self._connecting = asyncio.current_task()
            try:
                await super().connect_check_health(*args, **kwargs)
            finally:
                self._connecting = None

    async def send_packed_command(self, *args: Any, **kwargs: Any) -> None:
        await self._until_connected()
        async with asyncio.timeout(self.answer_seconds):
            await super().send_packed_command(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        await self._until_connected()
        # A caller with a time-out of its own (a subscription waits for as long as it takes) passes it by name.
        async with asyncio.timeout(self.answer_seconds if kwargs.get("timeout") is None else None):
            return await super().read_response(*args, **kwargs)

    async def _until_connected(self) -> None:
        while self._connecting not in (None, asyncio.current_task()):
            async with self._connect_turn:
                pass
