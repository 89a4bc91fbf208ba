"""Owns how new entries of the journal reach the streams of a process: one reader for all of them, by position.

The journal is read, not the bus: an announcement only says that there is something to read. So nothing is lost or
told twice, whatever becomes of Redis; while no announcement comes, the journal is looked at from time to time.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from secrets import token_bytes

from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import JournalEntry
from subgraph.operations.broadcast import Reader
from subgraph.operations.interruptions import Interruption
from subgraph.operations.journal.journal import Journal, JournalPutBack
from subgraph.operations.journal.outbox_relay import announcements_of
from subgraph.operations.ports import EventBus, SlowConsumer
from subgraph.operations.supervision import run_together

logger = logging.getLogger(__name__)

READ_MAX = 500
POLL_SECONDS = 0.5
"""How often the journal is looked at without an announcement, as long as anybody follows it."""
GAP_SECONDS = 0.004
"""The rest between two reads: what is committed meanwhile comes with the next one."""
RETRY_SECONDS = 0.5
ENTRIES_BUFFERED_MAX = 1_000

_HINT = b"look:"
"""How a message begins that tells of a commit without saying which; then follows whose it is."""

Key = SessionId | tuple[TenantId] | tuple[TenantId, str]
"""Whose entries: of a session, of a tenant, of a tenant's data source."""


@dataclass(frozen=True, slots=True)
class Live:
    """What comes behind a position: all that is wanted and not told by the journal up to there."""

    behind: int
    entries: AsyncIterator[JournalEntry]


class _Follower(Reader[JournalEntry]):
    def __init__(self, wants: Callable[[JournalEntry], bool]) -> None:
        super().__init__(ENTRIES_BUFFERED_MAX)
        self.wants = wants


class JournalFeed:
    """Hands the journal's new entries to whoever follows them. `run` must be kept running."""

    def __init__(self, journal: Journal, bus: EventBus, channel: str) -> None:
        self._journal = journal
        self._bus = bus
        self._channel = channel
        self._wake = asyncio.Event()
        self._committed = asyncio.Event()
        self._hint = _HINT + token_bytes(8)
        self._joining = asyncio.Lock()
        self._position = 0
        self._followers: dict[Key, set[_Follower]] = {}

    @property
    def position(self) -> int:
        """Up to where entries were handed on."""
        return self._position

    def wake(self) -> None:
        """A hint that this process has committed something; the other processes get it, too."""
        self._wake.set()
        self._committed.set()

    def begin_anew(self, former: int, newest: int) -> None:
        """Go on behind the newest entry of a journal that was put back behind a former position; all streams end.

        Whoever has set another position meanwhile has done so from the journal as it is.
        """
        if self._position == former:
            self._position = newest
            for followers in self._followers.values():
                for follower in followers:
                    follower.end(JournalPutBack())

    @contextlib.asynccontextmanager
    async def follow(self, key: Key, wants: Callable[[JournalEntry], bool]) -> AsyncIterator[Live]:
        """What comes from now on.

        It ends with SlowConsumer for a reader that falls behind by more than its buffer, and with JournalPutBack for
        all when the journal is put back to an earlier state.

        Raises:
            Unavailable: the journal does not answer.
        """
        follower = _Follower(wants)
        async with self._joining:
            if not self._followers:
                # Nobody has followed lately, so nobody has read.
                self._position = await self._journal.newest_position()
            self._followers.setdefault(key, set()).add(follower)
            behind = self._position
        self._wake.set()
        try:
            yield Live(behind, follower.items())
        finally:
            self._followers[key].discard(follower)
            if not self._followers[key]:
                del self._followers[key]

    async def run(self) -> None:
        """Read until cancelled."""
        await run_together(self._listen(), self._read(), self._hint_at_commits())

    async def _hint_at_commits(self) -> None:
        """Have other processes read at once. The relay announces the same, but takes its time."""
        while True:
            await self._committed.wait()
            self._committed.clear()
            with contextlib.suppress(Unavailable):
                await self._bus.publish(self._channel, self._hint)
            await asyncio.sleep(GAP_SECONDS)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._bus.subscribe(self._channel) as messages:
                    self._wake.set()
                    async for message in messages:
                        if self._is_news(message):
                            self._wake.set()
            except (Unavailable, SlowConsumer):
                await asyncio.sleep(RETRY_SECONDS)

    def _is_news(self, message: bytes) -> bool:
        if message.startswith(_HINT):
            return message != self._hint
        # Most of it has been read by the time the relay announces it.
        return any(one.position > self._position for one in announcements_of(message))

    async def _read(self) -> None:
        interruption = Interruption(logger, "the reading of the journal for streams")
        while True:
            self._wake.clear()
            try:
                while self._followers and await self._read_some() == READ_MAX:
                    pass
            except Unavailable as error:
                interruption.failed(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            interruption.succeeded()
            await asyncio.sleep(GAP_SECONDS)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS if self._followers else None):
                    await self._wake.wait()

    async def _read_some(self) -> int:
        entries = await self._journal.entries_after(self._position, READ_MAX)
        for entry in entries:
            # Whoever came first after all had left may have set the position meanwhile.
            if entry.position > self._position:
                self._position = entry.position
                for follower in self._concerned(entry):
                    if follower.wants(entry):
                        follower.offer(entry)
        return len(entries)

    def _concerned(self, entry: JournalEntry) -> Iterator[_Follower]:
        event = entry.event
        yield from self._followers.get(event.session_id, ())
        yield from self._followers.get((event.tenant_id,), ())
        if event.data_source is not None:
            yield from self._followers.get((event.tenant_id, event.data_source), ())
