"""Owns this process's own copies of sessions, what they are worth, and that no copy anywhere outlives a change.

Before a copy is used, the live store is asked how many announcements there were; what this process has not heard of by
then, it waits for, or it forgets all its copies. So they need no message to come in time, or at all.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass

import msgspec

from subgraph.domain.errors import SessionManagerFailure, Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import JournalEntry
from subgraph.domain.sessions import Session
from subgraph.operations.lru_cache import Load, LruCache
from subgraph.operations.ports import EventBus, MonotonicClock, NewToken, SlowConsumer
from subgraph.operations.sessions.session_blobs import (
    Announcement,
    Outdated,
    SessionBlobs,
    SessionKey,
    SessionRevisions,
    Standing,
    is_copyable,
)
from subgraph.operations.sessions.session_ports import KeyUsed, MainExists
from subgraph.operations.supervision import run_together

logger = logging.getLogger(__name__)

HEAR_SECONDS_MAX = 0.25
"""For how long a read waits for announcements that were made; then this process counts as deaf. A busy one is not."""
RETRY_SECONDS = 0.5
AWAY_SECONDS = 1.0
"""For how long reads leave alone a store that did not answer."""
REFUSALS = (SessionManagerFailure, MainExists, KeyUsed)
"""What a commit raises that has written nothing, but for Unavailable: after that one nobody knows."""

_decoder = msgspec.msgpack.Decoder(Announcement)


@dataclass(slots=True)
class ReadFacts:
    """How reads of sessions went in this process, since it began."""

    local_hits: int = 0
    local_misses: int = 0
    shared_hits: int = 0
    shared_misses: int = 0
    bypassed: int = 0
    unreadable: int = 0
    invalidations: int = 0
    times_deaf: int = 0


class SessionCache:
    """The copies of one process. `run` must be kept running; while it is not, or is deaf, there are none."""

    def __init__(
        self, blobs: SessionBlobs, bus: EventBus, channel: str, entries_max: int, clock: MonotonicClock, token: NewToken
    ) -> None:
        self.blobs = blobs
        self.facts = ReadFacts()
        self._bus = bus
        self._channel = channel
        self._local: LruCache[SessionKey, Session] = LruCache(entries_max)
        self._clock = clock
        self._new_token = token
        self._away_until = clock()
        self._heard: Standing | None = None
        """Up to where this process has heard announcements, without a gap. None: it is deaf."""
        self._hearing = asyncio.Condition()
        self._deaf = asyncio.Event()
        self._deaf.set()

    @property
    def size(self) -> int:
        """Copies in this process."""
        return len(self._local)

    @property
    def evictions(self) -> int:
        """Copies that made room for others, since ever."""
        return self._local.evictions

    async def standing(self) -> tuple[Standing, bool]:
        """What is known to be announced by now, and whether this process's copies are worth as much.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago. Then no copy is to be used.
        """
        if self._clock() < self._away_until:
            raise Unavailable("the store of copies did not answer a moment ago")
        with self.noting_absence():
            standing = await self.blobs.standing()
        return standing, await self._has_heard(standing)

    @contextlib.contextmanager
    def noting_absence(self) -> Iterator[None]:
        """Around what asks the store: when it does not answer, reads leave it alone for a moment."""
        try:
            yield
        except Unavailable:
            self._away_until = self._clock() + AWAY_SECONDS
            raise

    def local(self, tenant_id: TenantId, session_id: SessionId) -> Session | None:
        """This process's copy. To be asked for at once after `standing` has said that it is worth something."""
        session = self._local.get(SessionKey(tenant_id, session_id))
        if session is None:
            self.facts.local_misses += 1
        else:
            self.facts.local_hits += 1
        return session

    def loading(self) -> contextlib.AbstractContextManager[Load[SessionKey, Session]]:
        """A load into this process's copies; to be entered before it begins."""
        return self._local.loading()

    @contextlib.asynccontextmanager
    async def changing(self, changed: Sequence[tuple[TenantId, SessionId]]) -> AsyncIterator[None]:
        """Around the commit of a change of sessions: nobody reads a copy from before it until after it.

        While the store is away, a change is committed all the same; then the relay sees to it that copies end.
        """
        keys = [SessionKey(*one) for one in changed if all(map(is_copyable, one))]
        if not keys:
            yield
            return
        token = self._new_token()
        is_told = False
        with contextlib.suppress(Unavailable):
            await self.blobs.fence(keys, token)
            is_told = True
        self._drop(keys)
        try:
            yield
        except BaseException as error:
            # Of a commit in doubt the fence stays, and ends by itself: it may still come true.
            if isinstance(error, REFUSALS) and not isinstance(error, Unavailable):
                await self._lift(keys, token)
            raise
        finally:
            # What a load that came in between has read, if the fence could not be set.
            self._drop(keys)
        await self._lift(keys, token)
        if not is_told:
            # The fence may stand all the same, so that lifting it announced nothing.
            with contextlib.suppress(Unavailable):
                await self.blobs.outdate([Outdated(*key) for key in keys])

    async def relay(self, store: SessionRevisions, entries: Sequence[JournalEntry]) -> None:
        """End the copies that are older than what the journal tells of: those of changes made without a fence.

        Raises:
            Unavailable: the store of copies, or SQL, does not answer.
        """
        tenant_of = {entry.event.session_id: entry.event.tenant_id for entry in entries}
        if tenant_of:
            revisions = await store.revisions(list(tenant_of))
            await self.blobs.outdate([Outdated(tenant, one, revisions.get(one)) for one, tenant in tenant_of.items()])

    async def run(self) -> None:
        """Listen until cancelled."""
        await run_together(self._listen(), self._ask_to_be_told())

    async def _listen(self) -> None:
        while True:
            try:
                async with self._bus.subscribe(self._channel) as messages:
                    async for message in messages:
                        await self._hear(message)
            except (Unavailable, SlowConsumer):
                self._lose_hearing()
                await asyncio.sleep(RETRY_SECONDS)

    async def _ask_to_be_told(self) -> None:
        """While this process is deaf, have something announced: whoever hears that, hears what follows."""
        while True:
            await self._deaf.wait()
            with contextlib.suppress(Unavailable):
                await self.blobs.outdate([])
            await asyncio.sleep(RETRY_SECONDS)
            if self._deaf.is_set():
                # A listener's connection may have died without a word; whoever subscribes anew, and fails, finds out.
                with contextlib.suppress(Unavailable):
                    async with self._bus.subscribe(f"{self._channel}:{self._new_token()}"):
                        pass

    async def _hear(self, message: bytes) -> None:
        try:
            announced = _decoder.decode(message)
        except msgspec.MsgspecError as error:
            # It has a number, so it is missed: the next read finds that out.
            logger.warning("an announcement of changed sessions is passed over: %s", error)
            return
        for one in announced.outdated:
            self.facts.invalidations += 1
            self._local.drop(SessionKey(one.tenant_id, one.id), one.below)
        standing = announced.standing
        if self._heard is None or not self._heard.covers(standing):
            if self._heard is None or not self._heard.covers(
                msgspec.structs.replace(standing, count=standing.count - 1)
            ):
                self._local.clear()
            self._heard = standing
        self._deaf.clear()
        async with self._hearing:
            self._hearing.notify_all()

    async def _has_heard(self, standing: Standing) -> bool:
        if self._heard is None:
            return False
        if self._heard.covers(standing):
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEAR_SECONDS_MAX), self._hearing:
                await self._hearing.wait_for(lambda: self._heard is None or self._heard.covers(standing))
        if self._heard is not None and self._heard.covers(standing):
            return True
        self._lose_hearing()
        return False

    def _lose_hearing(self) -> None:
        if self._heard is not None:
            self.facts.times_deaf += 1
        self._heard = None
        self._local.clear()
        self._deaf.set()

    def _drop(self, keys: Sequence[SessionKey]) -> None:
        for key in keys:
            self._local.drop(key)

    async def _lift(self, keys: Sequence[SessionKey], token: str) -> None:
        with contextlib.suppress(Unavailable):
            await self.blobs.lift(keys, token)
