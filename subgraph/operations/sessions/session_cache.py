"""Owns a process's local cache of sessions, whether it is valid, and the invalidation that surrounds every change.

Before a local copy is used, Redis is asked for the position of the latest invalidation. If this process has not
received all up to there, it waits for them briefly, and else drops its whole cache. So correctness depends on no
message arriving in time, or at all.
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
    Invalidation,
    InvalidationMessage,
    InvalidationPosition,
    SessionBlobs,
    SessionKey,
    SessionRevisions,
    is_cacheable,
)
from subgraph.operations.sessions.session_ports import KeyUsed, MainExists
from subgraph.operations.supervision import run_together

logger = logging.getLogger(__name__)

RECEIVE_SECONDS_MAX = 0.25
"""How long a read waits for published invalidations before this process counts as out of sync; a busy one is slow."""
RETRY_SECONDS = 0.5
BYPASS_SECONDS = 1.0
"""How long reads bypass the shared cache after it did not answer."""
REFUSALS = (SessionManagerFailure, MainExists, KeyUsed)
"""What a commit raises when it has written nothing; after Unavailable, which is excepted, its outcome is unknown."""

_decoder = msgspec.msgpack.Decoder(InvalidationMessage)


@dataclass(slots=True)
class ReadFacts:
    """Counters of this process's reads of sessions, since its start."""

    local_hits: int = 0
    local_misses: int = 0
    shared_hits: int = 0
    shared_misses: int = 0
    bypassed: int = 0
    unreadable: int = 0
    invalidations: int = 0
    times_out_of_sync: int = 0


class SessionCache:
    """The local cache of one process. `run` must be kept running; out of sync, the cache is empty."""

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
        self._bypassed_until = clock()
        self._received: InvalidationPosition | None = None
        """Up to where this process has received invalidations without a gap. None: it is out of sync."""
        self._receiving = asyncio.Condition()
        self._out_of_sync = asyncio.Event()
        self._out_of_sync.set()

    @property
    def size(self) -> int:
        """Sessions in the local cache."""
        return len(self._local)

    @property
    def evictions(self) -> int:
        """Sessions evicted since the start."""
        return self._local.evictions

    async def position(self) -> tuple[InvalidationPosition, bool]:
        """The position of the latest invalidation, and whether the local cache is valid there.

        Raises:
            Unavailable: the store does not answer, or did not a moment ago. No cached copy may be used then.
        """
        if self._clock() < self._bypassed_until:
            raise Unavailable("the store of copies did not answer a moment ago")
        with self.noting_outage():
            position = await self.blobs.position()
        return position, await self._has_received(position)

    @contextlib.contextmanager
    def noting_outage(self) -> Iterator[None]:
        """Around calls of the store: when it does not answer, reads bypass it for a moment."""
        try:
            yield
        except Unavailable:
            self._bypassed_until = self._clock() + BYPASS_SECONDS
            raise

    def local(self, tenant_id: TenantId, session_id: SessionId) -> Session | None:
        """The local copy. Valid only directly after `position` has said so, without an await in between."""
        session = self._local.get(SessionKey(tenant_id, session_id))
        if session is None:
            self.facts.local_misses += 1
        else:
            self.facts.local_hits += 1
        return session

    def loading(self) -> contextlib.AbstractContextManager[Load[SessionKey, Session]]:
        """A load into the local cache; enter it before reading."""
        return self._local.loading()

    @contextlib.asynccontextmanager
    async def changing(self, changed: Sequence[tuple[TenantId, SessionId]]) -> AsyncIterator[None]:
        """Around the commit of a change of sessions: once it is over, nobody reads a copy from before it.

        While the store is unavailable, changes commit all the same, and the relay invalidates later.
        """
        keys = [SessionKey(*one) for one in changed if all(map(is_cacheable, one))]
        if not keys:
            yield
            return
        token = self._new_token()
        is_fenced = False
        with contextlib.suppress(Unavailable):
            await self.blobs.fence(keys, token)
            is_fenced = True
        self._drop(keys)
        try:
            yield
        except BaseException as error:
            # While the outcome of a commit is unknown, the fence stays until it ends by itself.
            if isinstance(error, REFUSALS) and not isinstance(error, Unavailable):
                await self._lift(keys, token)
            raise
        finally:
            # A load in between may have read the former state, if the fence could not be set.
            self._drop(keys)
        await self._lift(keys, token)
        if not is_fenced:
            # The fence may have been set all the same; then lifting it published nothing.
            with contextlib.suppress(Unavailable):
                await self.blobs.invalidate([Invalidation(*key) for key in keys])

    async def relay(self, store: SessionRevisions, entries: Sequence[JournalEntry]) -> None:
        """Invalidate copies older than the journal's entries: those of changes that were made without a fence.

        Raises:
            Unavailable: the store of copies, or SQL, does not answer.
        """
        tenant_of = {entry.event.session_id: entry.event.tenant_id for entry in entries}
        if tenant_of:
            revisions = await store.revisions(list(tenant_of))
            await self.blobs.invalidate(
                [Invalidation(tenant, one, revisions.get(one)) for one, tenant in tenant_of.items()]
            )

    async def run(self) -> None:
        """Receive invalidations until cancelled."""
        await run_together(self._listen(), self._resynchronise())

    async def _listen(self) -> None:
        while True:
            try:
                async with self._bus.subscribe(self._channel) as messages:
                    async for message in messages:
                        await self._receive(message)
            except (Unavailable, SlowConsumer):
                self._lose_sync()
                await asyncio.sleep(RETRY_SECONDS)

    async def _resynchronise(self) -> None:
        """While out of sync, publish an empty invalidation: a process that receives it receives what follows."""
        while True:
            await self._out_of_sync.wait()
            with contextlib.suppress(Unavailable):
                await self.blobs.invalidate([])
            await asyncio.sleep(RETRY_SECONDS)
            if self._out_of_sync.is_set():
                # The listener's connection may be dead without an error; a new subscription that fails shows it.
                with contextlib.suppress(Unavailable):
                    async with self._bus.subscribe(f"{self._channel}:{self._new_token()}"):
                        pass

    async def _receive(self, message: bytes) -> None:
        try:
            received = _decoder.decode(message)
        except msgspec.MsgspecError as error:
            # It has a position, so the next read notices that it is missing.
            logger.warning("an invalidation of sessions cannot be read: %s", error)
            return
        for one in received.invalidated:
            self.facts.invalidations += 1
            self._local.drop(SessionKey(one.tenant_id, one.id), one.below)
        position = received.position
        if self._received is None or not self._received.covers(position):
            if self._received is None or not self._received.covers(
                msgspec.structs.replace(position, count=position.count - 1)
            ):
                self._local.clear()
            self._received = position
        self._out_of_sync.clear()
        async with self._receiving:
            self._receiving.notify_all()

    async def _has_received(self, position: InvalidationPosition) -> bool:
        if self._received is None:
            return False
        if self._received.covers(position):
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RECEIVE_SECONDS_MAX), self._receiving:
                await self._receiving.wait_for(lambda: self._received is None or self._received.covers(position))
        if self._received is not None and self._received.covers(position):
            return True
        self._lose_sync()
        return False

    def _lose_sync(self) -> None:
        if self._received is not None:
            self.facts.times_out_of_sync += 1
        self._received = None
        self._local.clear()
        self._out_of_sync.set()

    def _drop(self, keys: Sequence[SessionKey]) -> None:
        for key in keys:
            self._local.drop(key)

    async def _lift(self, keys: Sequence[SessionKey], token: str) -> None:
        with contextlib.suppress(Unavailable):
            await self.blobs.lift(keys, token)
