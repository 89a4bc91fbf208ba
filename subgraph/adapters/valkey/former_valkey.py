"""Owns ending a Valkey that outlived the process it belonged to, once it is certain that it is that one."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

ANSWER_SECONDS_MAX = 0.5
ASKED_TIMES_MAX = 3
"""How often a server is asked who it is: one that is about to end fails to answer, and is then gone."""

POLL_SECONDS = 0.01


class SocketInUse(Exception):
    """Something else listens at the socket, or will not go; the message is one line that says what."""


def client_of(socket_path: Path) -> Redis:
    """A client that answers or fails at once."""
    return Redis(
        unix_socket_path=str(socket_path),
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
        socket_timeout=ANSWER_SECONDS_MAX,
        socket_connect_timeout=ANSWER_SECONDS_MAX,
    )


async def end_former_valkey(socket_path: Path, directory: Path, timeout_seconds: float) -> None:
    """End the Valkey that listens at a socket, if any does: two on one append-only file would destroy it.

    Raises:
        SocketInUse: what listens is no Valkey, keeps another directory, or does not end in time.
    """
    pid = await _pid_of(socket_path, directory)
    if pid is None:
        return
    async with client_of(socket_path) as client:
        with contextlib.suppress(RedisError, OSError):
            # The connection ends with the server, so there is no answer unless it refuses.
            await client.shutdown()
    try:
        await _until_unheard(socket_path, timeout_seconds)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        try:
            await _until_unheard(socket_path, timeout_seconds)
        except TimeoutError:
            raise SocketInUse(f"process {pid}, left by a former run, does not end") from None


async def _is_heard(socket_path: Path) -> bool:
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            _, writer = await asyncio.open_unix_connection(str(socket_path))
    except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
        return False
    except OSError as error:
        raise SocketInUse(f"{socket_path} cannot be connected to: {error.strerror or 'it does not answer'}") from error
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _until_unheard(socket_path: Path, timeout_seconds: float) -> None:
    async with asyncio.timeout(timeout_seconds):
        while await _is_heard(socket_path):
            await asyncio.sleep(POLL_SECONDS)


async def _pid_of(socket_path: Path, directory: Path) -> int | None:
    """The process id of the Valkey at a socket, None if nobody listens there or it ends while it is asked."""
    for _ in range(ASKED_TIMES_MAX):
        if not await _is_heard(socket_path):
            return None
        try:
            async with client_of(socket_path) as client:
                settings = await client.config_get("dir")
                server = await client.info("server")
            kept, pid = str(settings["dir"]), int(server["process_id"])
        except (RedisError, OSError, KeyError, TypeError, ValueError):
            await asyncio.sleep(POLL_SECONDS)
            continue
        if not _is_same(kept, directory):
            raise SocketInUse(f"process {pid} listens at {socket_path}, but keeps its data in {kept}")
        return pid
    raise SocketInUse(f"what listens at {socket_path} does not answer as a Valkey of ours")


def _is_same(first: str, second: Path) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)
