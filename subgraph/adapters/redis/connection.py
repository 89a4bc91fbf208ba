"""Owns how Redis is reached and how its failures are told: one client a process, and errors as Unavailable."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from subgraph.domain.errors import Unavailable

CONNECTIONS_MAX = 64
ANSWER_TIMEOUT_SECONDS = 5.0


class RedisUnreachable(Exception):
    """Redis did not answer at start: one line that says where it was sought and why it failed."""


def connect(url: str) -> Redis:
    """A client on a bounded pool; a caller waits for a connection when all are in use."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=CONNECTIONS_MAX,
        timeout=ANSWER_TIMEOUT_SECONDS,
        socket_timeout=ANSWER_TIMEOUT_SECONDS,
        socket_connect_timeout=ANSWER_TIMEOUT_SECONDS,
    )
    return Redis.from_pool(pool)


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
    """Turn a Redis that does not answer into Unavailable; other errors are bugs and pass."""
    try:
        yield
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Unavailable(f"Redis does not answer: {error}", retry_after_seconds=1.0) from error
