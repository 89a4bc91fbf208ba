"""Owns how Redis is reached and how its failures are told: one client a process, and errors as Unavailable."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from redis.asyncio import BlockingConnectionPool, ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from subgraph.domain.errors import Unavailable

CONNECTIONS_MAX = 64
ANSWER_TIMEOUT_SECONDS = 5.0

_PASSING = (ClusterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError)
"""Answers of a Redis that is full, a replica (a failover is under way), or part of a cluster in trouble."""

_PASSING_CODES = ("MISCONF ", "NOREPLICAS ", "BUSY ", "UNBLOCKED ", "MASTERDOWN ")
"""Those for which redis-py has no class: disk full, replicas gone, busy with a script, changing its role."""


class RedisUnreachable(Exception):
    """Redis did not answer at start: one line that says where it was sought and why it failed."""


def connect(url: str) -> Redis:
    """A client on a bounded pool; a caller waits for a connection when all are in use."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=ANSWER_TIMEOUT_SECONDS,
        socket_timeout=None,
        socket_connect_timeout=ANSWER_TIMEOUT_SECONDS,
    )
    pool.connection_class = type("BoundedConnection", (_Bounded, pool.connection_class), {})
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

    Tasks that share a connection (the listener and those who subscribe) also take turns to connect it.
    """

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
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
            await super().send_packed_command(*args, **kwargs)

    async def read_response(self, *args: Any, **kwargs: Any) -> Any:
        # A caller with a time-out of its own (a subscription waits for as long as it takes) passes it by name.
        async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS if kwargs.get("timeout") is None else None):
            return await super().read_response(*args, **kwargs)


async def check_reachable(redis: Redis, url: str) -> None:
    """Make sure that Redis answers.

    Raises:
        RedisUnreachable: it does not.
    """
    try:
        await redis.ping()
    except (RedisError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RedisUnreachable(f"Redis at {without_password(url)} cannot be used: {reason}") from error


def without_password(url: str) -> str:
    """The URL as it may be printed."""
    scheme, separator, rest = url.partition("://")
    credentials, at, place = rest.rpartition("@")
    return f"{scheme}{separator}***@{place}" if at and credentials else url


@contextmanager
def told_as_unavailable() -> Iterator[None]:
    """Turn a Redis that does not answer, or cannot write now, into Unavailable; other errors are bugs and pass."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Unavailable(f"Redis does not answer: {error}", retry_after_seconds=1.0) from error
    except ResponseError as error:
        if isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES):
            raise Unavailable(f"Redis cannot serve at the moment: {error}", retry_after_seconds=1.0) from error
        raise
