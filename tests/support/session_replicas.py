"""Owns processes that read and change the same sessions: a truth in memory, and copies in a real store."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from secrets import token_urlsafe
from typing import cast

from redis.asyncio import Redis

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.session_blobs import RedisSessionBlobs
from subgraph.domain import sessions
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session, SessionChange
from subgraph.operations.sessions.session_blobs import Copies, SessionKey
from subgraph.operations.sessions.session_cache import SessionCache
from subgraph.operations.sessions.session_ports import SessionStore
from subgraph.operations.sessions.session_reads import SessionReads
from tests.support.polling import eventually

TENANT = TenantId("tenant")


def new_session(tenant_id: TenantId = TENANT, owner_id: str = "owner") -> Session:
    """A session that nobody has read yet."""
    return sessions.create(NewSession(), tenant_id, owner_id, datetime.now(UTC)).created[0]


def next_of(session: Session) -> SessionChange:
    """A change that raises the session's revision."""
    revision = session.revision + 1
    return SessionChange(updated=(replace(session, revision=revision, title=f"revision {revision}"),))


class Actor:
    """A task that goes on only when it is told to, from one place where it looks up to the next."""

    _acting: ContextVar["Actor | None"] = ContextVar("_acting", default=None)

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self._work = work
        self._go_on = asyncio.Semaphore(0)
        self._stopped = asyncio.Semaphore(0)
        self._task: asyncio.Task[None] | None = None
        self.result: object = None

    async def step(self) -> None:
        """Let it go on until it looks up again, or has ended."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        elif self._task.done():
            return
        else:
            self._go_on.release()
        await self._stopped.acquire()

    async def end(self) -> object:
        """Let it go on to its end."""
        while self._task is None or not self._task.done():
            await self.step()
            await asyncio.sleep(0)
        await self._task
        return self.result

    async def _run(self) -> None:
        self._acting.set(self)
        try:
            self.result = await self._work()
        finally:
            self._stopped.release()

    @classmethod
    async def look_up(cls) -> None:
        """Wait to be told, in the task of an actor; any other one just goes on."""
        actor = cls._acting.get()
        if actor is not None:
            actor._stopped.release()
            await actor._go_on.acquire()


class SteppedBlobs(RedisSessionBlobs):
    """Copies before whose every use an actor looks up."""

    async def read(self, run: str, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> Copies:
        await Actor.look_up()
        return await super().read(run, tenant_id, session_ids)

    async def fence(self, keys: Sequence[SessionKey], token: str) -> None:
        await Actor.look_up()
        await super().fence(keys, token)

    async def lift(self, keys: Sequence[SessionKey], token: str) -> None:
        await Actor.look_up()
        await super().lift(keys, token)


@dataclass
class Truth:
    """Sessions as SQL has them, and how often each was asked for."""

    sessions_of: dict[SessionId, Session] = field(default_factory=dict)
    asked: list[Sequence[SessionId]] = field(default_factory=list)

    def hold(self, *held: Session) -> None:
        self.sessions_of |= {session.id: session for session in held}

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        self.asked.append(list(session_ids))
        await Actor.look_up()
        found = {one: self.sessions_of[one] for one in session_ids if one in self.sessions_of}
        await Actor.look_up()
        return {one: session for one, session in found.items() if session.tenant_id == tenant_id}

    async def revisions(self, session_ids: Sequence[SessionId]) -> dict[SessionId, int]:
        return {one: self.sessions_of[one].revision for one in session_ids if one in self.sessions_of}

    def commit(self, change: SessionChange) -> None:
        self.hold(*change.created, *change.updated)
        for session in change.purged:
            del self.sessions_of[session.id]


@dataclass
class Replica:
    """One process."""

    truth: Truth
    fleet_id: str
    redis: Redis
    blobs: RedisSessionBlobs
    cache: SessionCache

    @property
    def reads(self) -> SessionReads:
        """Its reads."""
        return SessionReads(cast(SessionStore, self.truth), self.cache)

    async def read(self, session: Session) -> Session | None:
        """The session as this process shows it."""
        return (await self.reads.sessions(session.tenant_id, [session.id])).get(session.id)

    def changing(self, change: SessionChange) -> contextlib.AbstractAsyncContextManager[None]:
        """What a change is committed within."""
        return self.cache.changing([(one.tenant_id, one.id) for one in (*change.updated, *change.purged)])

    async def change(self, change: SessionChange) -> None:
        """Commit a change as the store does."""
        async with self.changing(change):
            await Actor.look_up()
            self.truth.commit(change)


@contextlib.asynccontextmanager
async def replica(url: str, fleet_id: str, truth: Truth, entries_max: int = 100) -> AsyncIterator[Replica]:
    """A process that listens."""
    redis = connect(url)
    bus = RedisEventBus(redis)
    blobs = SteppedBlobs(redis, fleet_id)
    cache = SessionCache(blobs, bus, blobs.channel, entries_max, time.monotonic, lambda: token_urlsafe(12))
    running = [asyncio.create_task(bus.run()), asyncio.create_task(cache.run())]
    one = Replica(truth, fleet_id, redis, blobs, cache)
    try:
        await eventually(lambda: hears(one), "the process listens")
        yield one
    finally:
        for task in running:
            task.cancel()
        await asyncio.wait(running)
        await bus.aclose()
        await redis.aclose()


async def hears(one: Replica) -> bool:
    """Whether its own copies are worth something."""
    try:
        return (await one.cache.position())[1]
    except Unavailable:
        return False
