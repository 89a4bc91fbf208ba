"""Owns the one Redis listener of a process: it feeds any number of subscribers through bounded queues.

A queue that is full belongs to a subscriber that reads too slowly: it is cut off with SlowConsumer, the others go on.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from subgraph.adapters.redis.connection import told_as_unavailable
from subgraph.operations.broadcast import Broadcast
from subgraph.operations.interruptions import Interruption

logger = logging.getLogger(__name__)

MESSAGES_BUFFERED_MAX = 10_000
RECONNECT_SECONDS = 0.25
SUBSCRIBE_TIMEOUT_SECONDS = 5.0
IDLE_CHANNEL = "session-manager:listener"
"""Always subscribed, so that the listener has a connection to wait on when nobody else subscribes."""


class RedisEventBus:
    """Publishes to Redis and hands what arrives to subscribers. `run` must be kept running."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._pubsub = redis.pubsub(ignore_subscribe_messages=False)
        self._channels: dict[str, Broadcast[bytes]] = {}
        self._confirmed: dict[str, asyncio.Event] = {}
        self._users: Counter[str] = Counter()
        self._changing = asyncio.Lock()
        self._interruption = Interruption(logger, "the Redis listener")

    async def publish(self, channel: str, message: bytes) -> None:
        """Hand the message to every subscriber of the channel, in every process."""
        with told_as_unavailable():
            await self._redis.publish(channel, message)

    @contextlib.asynccontextmanager
    async def subscribe(
        self, channel: str, buffered_max: int = MESSAGES_BUFFERED_MAX
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Messages published after entry."""
        broadcast = self._join(channel)
        try:
            with broadcast.reader(buffered_max) as messages:
                # Only now does the caller miss nothing: the channel is confirmed and the queue stands.
                await self._confirmed_subscription(channel)
                yield messages
        finally:
            await self._leave(channel)

    async def run(self) -> None:
        """Listen until cancelled; reconnect for ever. What is missed meanwhile is for the readers to notice."""
        while True:
            try:
                if IDLE_CHANNEL.encode() not in self._pubsub.channels:
                    # In turn with all others: two first commands at once would open two connections, and one is deaf.
                    async with self._changing:
                        await self._pubsub.subscribe(IDLE_CHANNEL)
                message = await self._pubsub.get_message(timeout=None)
            except (RedisError, OSError) as error:
                self._interruption.failed(error)
                await asyncio.sleep(RECONNECT_SECONDS)
                continue
            self._interruption.succeeded()
            if message is not None:
                self._dispatch(message["type"], message["channel"].decode(), message["data"])

    def _dispatch(self, kind: str, channel: str, data: bytes) -> None:
        if kind == "subscribe" and channel in self._confirmed:
            self._confirmed[channel].set()
        elif kind == "message":
            broadcast = self._channels.get(channel)
            if broadcast:
                broadcast.send(data)

    def _join(self, channel: str) -> Broadcast[bytes]:
        self._users[channel] += 1
        return self._channels.setdefault(channel, Broadcast())

    async def _confirmed_subscription(self, channel: str) -> None:
        with told_as_unavailable():
            async with self._changing:
                confirmed = self._confirmed.get(channel)
                if confirmed is None:
                    confirmed = await self._subscribe(channel)
            try:
                async with asyncio.timeout(SUBSCRIBE_TIMEOUT_SECONDS):
                    await confirmed.wait()
            except TimeoutError:
                # A peer that vanished without a word leaves a connection that never fails by itself.
                connection = cast("AbstractConnection | None", self._pubsub.connection)
                if connection is not None:
                    await connection.disconnect(nowait=True)
                raise

    async def _subscribe(self, channel: str) -> asyncio.Event:
        # Before the command is sent: the answer may be here before the call returns.
        confirmed = self._confirmed[channel] = asyncio.Event()
        try:
            await self._pubsub.subscribe(channel)
        except BaseException:
            del self._confirmed[channel]
            raise
        return confirmed

    async def _leave(self, channel: str) -> None:
        self._users[channel] -= 1
        # Leaving and joining take turns, so that a channel's unsubscribe never overtakes its next subscribe.
        async with self._changing:
            if self._users[channel]:
                return
            del self._users[channel]
            self._channels.pop(channel, None)
            if self._confirmed.pop(channel, None):
                with contextlib.suppress(RedisError, OSError):
                    await self._pubsub.unsubscribe(channel)

    async def aclose(self) -> None:
        """Close the listener's connection."""
        await self._pubsub.aclose()  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
