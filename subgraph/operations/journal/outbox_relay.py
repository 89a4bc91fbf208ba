"""Owns what follows from the journal's new entries: they are announced, and the fleet is told of what concerns it.

At least once, in the order of commits, in batches. Any process may relay any stretch, several the same one too:
whoever reads the journal goes by positions, and what is done to the fleet does nothing the second time. An entry is
marked as relayed last; a crash before that repeats it.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import STARTS, STOPS, JournalEntry, SessionEventType, changes_labels
from subgraph.operations.interruptions import Interruption
from subgraph.operations.journal.journal import Journal
from subgraph.operations.ports import EventBus

logger = logging.getLogger(__name__)

RELAY_BATCH = 500
RELAY_POLL_SECONDS = 0.5
RELAY_REST_SECONDS = 0.1
"""The rest after a batch: a batch is read, marked and spoken of with Redis, whatever its size. Streams do not wait."""

RELEASES_TILES = STOPS | {SessionEventType.SESSION_PURGED}
"""Events after which a session's tiles are nobody's to own."""
BRINGS_TILES_BACK = STARTS - {SessionEventType.SESSION_STARTED}
"""Events after which a session may have the tiles again that it had before."""


class Announcement(msgspec.Struct, frozen=True, array_like=True):
    """What is announced of an entry: enough to know whom it concerns. What it says is read in the journal."""

    position: int
    tenant_id: TenantId
    session_id: SessionId
    type: SessionEventType


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Announcement])


def announcements_of(message: bytes) -> list[Announcement]:
    """The announcements of a message on the journal's channel; none if it is not of this version's form."""
    try:
        return _decoder.decode(message)
    except msgspec.DecodeError as error:
        logger.warning("an announcement is passed over: %s", error)
        return []


@dataclass(slots=True)
class OutboxRelay:
    """Relays the journal's new entries. `run` must be kept running."""

    journal: Journal
    bus: EventBus
    channel: str
    release_tiles: Callable[[Sequence[tuple[TenantId, SessionId]]], Awaitable[None]]
    bring_back_tiles: Callable[[TenantId, SessionId], Awaitable[None]]
    note_labels: Callable[[TenantId, SessionId], Awaitable[None]]
    end_copies: Callable[[Sequence[JournalEntry]], Awaitable[None]]
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def wake(self) -> None:
        """A hint that something was committed; the relay also polls."""
        self._wake.set()

    async def run(self) -> None:
        """Relay until cancelled; what cannot be done now is tried again."""
        interruption = Interruption(logger, "the relay of the journal")
        while True:
            self._wake.clear()
            try:
                while await self.relay_batch() == RELAY_BATCH:
                    pass
            except Unavailable as error:
                interruption.failed(error)
            else:
                interruption.succeeded()
            await asyncio.sleep(RELAY_REST_SECONDS)
            try:
                async with asyncio.timeout(RELAY_POLL_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def relay_batch(self) -> int:
        """Relay the oldest entries that are not, a batch at most; returns how many there were.

        Raises:
            Unavailable: some could not be relayed; those before the first such one are.
        """
        entries = await self.journal.unrelayed(RELAY_BATCH)
        if not entries:
            return 0
        # Before anybody is told: whoever then looks at a session finds it as it is told of.
        await self.end_copies(entries)
        # Readers wait for nothing that is done to the fleet.
        await self.bus.publish(self.channel, _encoder.encode([_announcement(entry) for entry in entries]))
        done: list[int] = []
        try:
            await self._carry_out(entries, done)
        finally:
            if done:
                await self.journal.mark_relayed(done)
        return len(entries)

    async def _carry_out(self, entries: Sequence[JournalEntry], done: list[int]) -> None:
        stopped = [entry.event for entry in entries if entry.event.type in RELEASES_TILES]
        are_released = False
        for entry in entries:
            event = entry.event
            if event.type in RELEASES_TILES:
                # All at once, at the first: what becomes of a session's tiles is decided by how it is now.
                if not are_released:
                    await self.release_tiles([(one.tenant_id, one.session_id) for one in stopped])
                    are_released = True
            elif event.type in BRINGS_TILES_BACK:
                await self.bring_back_tiles(event.tenant_id, event.session_id)
            elif changes_labels(event):
                await self.note_labels(event.tenant_id, event.session_id)
            done.append(entry.position)


def _announcement(entry: JournalEntry) -> Announcement:
    event = entry.event
    return Announcement(entry.position, event.tenant_id, event.session_id, event.type)
