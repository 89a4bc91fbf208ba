"""Owns how one stream feeds many readers in a process: a bounded queue each, and the slow one is cut off."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
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


class Reader(Generic[T]):
    """One reader's bounded queue."""

    def __init__(self, buffered_max: int = BUFFERED_MAX) -> None:
        self._queue: asyncio.Queue[T] = asyncio.Queue(buffered_max)
        self._overflowed = False

    def offer(self, item: T) -> None:
        """Put an item at the end; when the queue is full, this item and all after it are lost."""
        if self._overflowed:
            return
        try:
            self._queue.put_nowait(item)
        except asyncio.QueueFull:
            self._overflowed = True

    async def items(self) -> AsyncIterator[T]:
        """What is offered, in order.

        Raises:
            SlowConsumer: something was lost; all before it has been yielded.
        """
        # What was lost came after what is queued, so the reader still gets all that came in order before the loss.
        while not (self._overflowed and self._queue.empty()):
            yield await self._queue.get()
        raise SlowConsumer("more came than this reader took; subscribe again")
