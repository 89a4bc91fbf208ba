"""Owns fan-out within a process: one stream, many readers, a bounded queue for each; a slow reader is cut off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from enum import Enum, auto
from typing import Generic, TypeVar

from subgraph.operations.ports import SlowConsumer

T = TypeVar("T")

BUFFERED_MAX = 1_000


class Broadcast(Generic[T]):
    """Hands every item to every present reader. A reader whose queue is full gets SlowConsumer, after what it holds."""

    def __init__(self) -> None:
        self._readers: set[Reader[T]] = set()

    @property
    def has_readers(self) -> bool:
        """Whether anybody would get an item sent now."""
        return bool(self._readers)

    def send(self, item: T) -> None:
        """Hand an item to all readers, without waiting for any."""
        for reader in self._readers:
            reader.offer(item)

    @contextlib.contextmanager
    def reader(self, buffered_max: int = BUFFERED_MAX) -> Iterator[AsyncIterator[T]]:
        """The items sent from now on."""
        reader: Reader[T] = Reader(buffered_max)
        self._readers.add(reader)
        try:
            yield reader.items()
        finally:
            self._readers.discard(reader)


class _Wake(Enum):
    """Wakes a reader that waits for an item that will never come."""

    UP = auto()


class Reader(Generic[T]):
    """One reader's bounded queue."""

    def __init__(self, buffered_max: int = BUFFERED_MAX) -> None:
        self._queue: asyncio.Queue[T | _Wake] = asyncio.Queue(buffered_max)
        self._end: Exception | None = None

    def offer(self, item: T) -> None:
        """Put an item at the end; when the queue is full, this item and all after it are lost."""
        if self._end is not None:
            return
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._end = SlowConsumer("more came than this reader took; subscribe again")

    def end(self, why: Exception) -> None:
        """Let nothing more come: the reader gets what is queued, and then this failure, unless it has another one."""
        if self._end is None:
            self._end = why
            # Where there is no room, nobody waits.
            with contextlib.suppress(asyncio.QueueFull):
                self._queue.put_nowait(_Wake.UP)

    async def items(self) -> AsyncIterator[T]:
        """What is offered, in order.

        Raises:
            SlowConsumer: something was lost; all before it has been yielded.
            Exception: the failure that `end` was given.
        """
        # What was lost came after what is queued, so the reader still gets all that came in order before the loss.
        while self._end is None or not self._queue.empty():
            if not isinstance(item := await self._queue.get(), _Wake):
                yield item
        raise self._end
