"""Owns the ports that several subjects share: clocks, tokens, pages, the event bus, the fleet's register."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

Clock = Callable[[], datetime]
"""The wall clock, in UTC. Leases never use it: they live by Redis time and by the pod's own boot clock."""

MonotonicClock = Callable[[], float]
"""Seconds that only rise, from no particular start: for how long something has waited in this process."""

NewToken = Callable[[], str]
"""A text that nobody can guess, another one at every call."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A stretch of a list in a stable order; a list behind the cursor of an item goes on after it."""

    items: tuple[T, ...]
    cursors: tuple[str, ...]
    has_next: bool
    total_count: int | None


class FleetRegister(Protocol):
    """What of the fleet must outlive Redis: its incarnation, in SQL."""

    async def incarnation(self, fleet_id: str) -> int:
        """The current incarnation; 0 for a fleet nobody has led yet."""
        ...

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        """Raise the incarnation, durably, and return the new one: no two callers ever get the same.

        Args:
            fleet_id: the fleet.
            above: the new one is above this, too.

        Raises:
            Unavailable: SQL did not confirm. Then nobody may lead.
        """
        ...


class EventBus(Protocol):
    """Best-effort, at-once delivery of small messages between processes. Who needs certainty reads the store."""

    async def publish(self, channel: str, message: bytes) -> None:
        """Hand the message to every subscriber of the channel, in every process.

        Raises:
            Unavailable: the bus did not take it.
        """
        ...

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Messages published after entry. The iterator ends by raising SlowConsumer when its bounded buffer is full."""
        ...


class SlowConsumer(Exception):
    """A subscriber read too slowly and its bounded buffer filled: it is cut off and should subscribe again.

    `after`: the cursor behind which it goes on without a gap, of streams that can be resumed.
    """

    def __init__(self, message: str, after: str | None = None) -> None:
        super().__init__(message)
        self.after = after
