"""Owns how the failures of Redis are told: at start in one line, later as Unavailable. Connecting is the client's."""

from collections.abc import Iterator
from contextlib import contextmanager

from redis.asyncio import Redis
from redis.exceptions import ClusterDownError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from subgraph.client.redis_connection import connect, one_connection
from subgraph.domain.errors import Unavailable

__all__ = ["RedisUnreachable", "check_reachable", "connect", "one_connection", "told_as_unavailable"]

_PASSING = (ClusterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError)
"""Answers of a Redis that is full, a replica (a failover is under way), or part of a cluster in trouble."""

_PASSING_CODES = ("MISCONF ", "NOREPLICAS ", "BUSY ", "UNBLOCKED ", "MASTERDOWN ")
"""Those for which redis-py has no class: disk full, replicas gone, busy with a script, changing its role."""


class RedisUnreachable(Exception):
    """Redis did not answer at start: one line that says where it was sought and why it failed."""


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
