"""Owns the demo's messages while a part of its system does not answer: who waits, why, and when it continues."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from gql.transport.exceptions import TransportError
from redis.exceptions import RedisError
from websockets.exceptions import WebSocketException

T = TypeVar("T")

RETRY_SECONDS = 0.5
REASON_LENGTH_MAX = 100
AWAY = (TransportError, WebSocketException, RedisError, OSError)
"""How a server or Redis that is stopped, busy or gone shows; anything else is a fault of the demo, and ends it."""


class Waiting:
    """Who waits now, and why. `note` hears when somebody begins to wait, and goes on."""

    def __init__(self, note: Callable[[str], None] = lambda _: None) -> None:
        self._note = note
        self.reasons: dict[str, str] = {}

    async def until_done(self, who: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do work that may be done again, until it succeeds."""
        while True:
            try:
                done = await work()
            except AWAY as error:
                self.begin(who, error)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self.end(who)
                return done

    def begin(self, who: str, error: BaseException) -> None:
        """Somebody waits, for this reason."""
        lines = str(error).splitlines()
        reason = (lines[0] if lines else type(error).__name__)[:REASON_LENGTH_MAX]
        if who not in self.reasons:
            self._note(f"{who}: waits, {reason}")
        self.reasons[who] = reason

    def end(self, who: str) -> None:
        """Somebody goes on, if it waited."""
        if self.reasons.pop(who, None) is not None:
            self._note(f"{who}: goes on")
