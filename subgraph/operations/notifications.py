"""Owns the way of a session's starts and stops from the journal to its subscribers: at least once, told once.

The journal is the truth. The relay announces what is committed there, releases the tiles of stopped sessions and
has the fleet know what changed ones require first, and only then marks an entry as relayed; a crash in between repeats
it, and subscribers drop what they have seen.
"""

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

import msgspec

from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import JournalEntry, SessionEventType
from subgraph.operations.journal import Journal
from subgraph.operations.ports import EventBus

logger = logging.getLogger(__name__)

RELAY_BATCH = 200
RELAY_POLL_SECONDS = 0.5
SEEN_MAX = 10_000


class Notification(msgspec.Struct, frozen=True):
    """What subscribers of starts and stops are told."""

    event_id: str
    session_id: SessionId
    type: SessionEventType
    data_source: str | None
    occurred_at: datetime


@dataclass(slots=True)
class OutboxRelay:
    """Announces the journal's new entries in commit order. `run` must be kept running."""

    journal: Journal
    bus: EventBus
    channel_of: Callable[[TenantId], str]
    retire_session: Callable[[SessionId], Awaitable[None]]
    note_changed: Callable[[TenantId, SessionId], Awaitable[None]]
    _wake: asyncio.Event

    def wake(self) -> None:
        """A hint that something was committed; the relay also polls."""
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled; what cannot be announced now is tried again."""
        while True:
            self._wake.clear()
            try:
                while await self._relay_batch() == RELAY_BATCH:
                    pass
            except Unavailable as error:
                logger.warning("session events wait to be announced: %s", error)
            try:
                async with asyncio.timeout(RELAY_POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _relay_batch(self) -> int:
        entries = await self.journal.unrelayed(RELAY_BATCH)
        for entry in entries:
            event = entry.event
            if event.type is SessionEventType.SESSION_ENDED:
                await self.retire_session(event.session_id)
            elif event.type is SessionEventType.SESSION_UPDATED:
                await self.note_changed(event.tenant_id, event.session_id)
            await self.bus.publish(self.channel_of(event.tenant_id), msgspec.msgpack.encode(_notification(entry)))
        await self.journal.mark_relayed([entry.position for entry in entries])
        return len(entries)


@dataclass(frozen=True, slots=True)
class Notifications:
    """Starts and stops for subscribers: live only, one exact data source, each once."""

    bus: EventBus
    channel_of: Callable[[TenantId], str]

    async def follow(
        self, tenant_id: TenantId, event_type: SessionEventType, data_source: str
    ) -> AsyncIterator[Notification]:
        """Notifications of one kind and data source from now on.

        Raises:
            SlowConsumer: the reader fell behind by more than its buffer.
        """
        seen: OrderedDict[str, None] = OrderedDict()
        async with self.bus.subscribe(self.channel_of(tenant_id)) as messages:
            async for message in messages:
                notification = msgspec.msgpack.decode(message, type=Notification)
                if (notification.type, notification.data_source) != (event_type, data_source):
                    continue
                if notification.event_id in seen:
                    continue
                seen[notification.event_id] = None
                if len(seen) > SEEN_MAX:
                    seen.popitem(last=False)
                yield notification


def _notification(entry: JournalEntry) -> Notification:
    event = entry.event
    return Notification(entry.id, event.session_id, event.type, event.data_source, event.occurred_at)
