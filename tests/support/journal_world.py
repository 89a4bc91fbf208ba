"""Owns a process that dies at a chosen step between a change and its readers, and readers that outlive it."""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Select

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller
from subgraph.domain.errors import Unavailable
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import JournalEntry, SessionEventType, event_of
from subgraph.domain.journal_cursor import encode_position
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session
from subgraph.operations.journal.journal import Journal
from subgraph.operations.journal.journal_feed import JournalFeed
from subgraph.operations.journal.journal_watch import JournalWatch
from subgraph.operations.journal.outbox_relay import OutboxRelay
from subgraph.operations.journal.session_events import EventsWanted, SessionEvents
from subgraph.operations.sessions.session_ports import SessionStore
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.supervision import run_together
from tests.support.journal_in_memory import JournalInMemory

T = TypeVar("T")

NOW = datetime(2026, 3, 1, tzinfo=UTC)
CHANNEL = "journal"
SECONDS_MAX = 30.0


class Killed(Exception):
    """The process is gone: nothing of it goes on."""


@dataclass
class Fuse:
    """Ends the process at a step, counted from 1; never without one."""

    at: int | None
    chance: random.Random
    steps: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        """One more step; from the last one on, every one fails."""
        self.steps.append(name)
        if self.at is not None and len(self.steps) >= self.at:
            raise Killed(self.steps[self.at - 1])

    async def others(self) -> None:
        """Let others do something first, now and then a lot."""
        for _ in range(self.chance.choice((0, 0, 1, 2, 20))):
            await asyncio.sleep(0)


class Fused:
    """Passes every call of a port on, with a step before and after it."""

    def __init__(self, port: object, name: str, fuse: Fuse) -> None:
        self._port, self._name, self._fuse = port, name, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        if not asyncio.iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            await self._fuse.others()
            self._fuse.step(f"before {self._name}.{name}")
            result = await found(*args, **kwargs)
            self._fuse.step(f"after {self._name}.{name}")
            await self._fuse.others()
            return result

        return call


class FusedConnection:
    """A connection with a step before and after every statement."""

    def __init__(self, connection: Connection, fuse: Fuse) -> None:
        self._connection, self._fuse = connection, fuse

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._connection, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            self._fuse.step("before a statement of a transaction")
            result = found(*args, **kwargs)
            table: Any = args[0].get_final_froms()[0] if isinstance(args[0], Select) else args[0].table
            self._fuse.step(f"after a statement of a transaction: {args[0].__visit_name__} {table.name}")
            return result

        return call if callable(found) else found


class FusedDatabase:
    """A database with a step around every statement of a transaction that writes, and around its commit."""

    def __init__(self, database: Database, fuse: Fuse) -> None:
        self._database, self._fuse = database, fuse
        self.read = database.read
        self.reading = database.reading

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Carry out a change."""

        def stepped(connection: Connection) -> T:
            result = work(cast("Connection", FusedConnection(connection, self._fuse)))
            self._fuse.step("before the commit in the database")
            return result

        result = await self._database.write(stepped)
        self._fuse.step("after the commit in the database")
        return result


class FlakyBus:
    """A bus between processes that loses messages, and now and then its subscribers, as a Redis that restarts."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._queues: set[asyncio.Queue[bytes | None]] = set()

    async def publish(self, channel: str, message: bytes) -> None:
        """Hand a message to who is there, if nothing goes wrong."""
        match self._chance.random():
            case luck if luck < 0.1:
                raise Unavailable("the bus is away")
            case luck if luck < 0.3:
                return
            case luck if luck < 0.4:
                for queue in self._queues:
                    queue.put_nowait(None)
            case _:
                for queue in self._queues:
                    queue.put_nowait(message)

    @contextlib.asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncIterator[AsyncIterator[bytes]]:
        """Messages from now on, until the bus goes away."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()

        async def messages() -> AsyncIterator[bytes]:
            while (message := await queue.get()) is not None:
                yield message
            raise Unavailable("the bus went away")

        self._queues.add(queue)
        try:
            yield messages()
        finally:
            self._queues.discard(queue)


class NotedInMemory:
    """The port SeenPositions, outliving processes."""

    def __init__(self) -> None:
        self._position = 0

    async def seen(self) -> int:
        """The position that was noted last."""
        return self._position

    async def note(self, position: int) -> None:
        """Remember it."""
        self._position = position

    def is_at(self, position: int) -> bool:
        """Whether it is this one."""
        return self._position == position


Kept = Database | JournalInMemory
"""What outlives a process."""


def stores_on(kept: Kept) -> tuple[SessionStore, Journal]:
    """The ports to what is kept."""
    if isinstance(kept, JournalInMemory):
        return cast("SessionStore", kept), kept
    return SqlSessionStore(kept), SqlJournal(kept)


async def first_of(stream: AsyncIterator[JournalEntry], count: int) -> list[JournalEntry]:
    """So many entries of a stream."""
    async with asyncio.timeout(SECONDS_MAX):
        return [await anext(stream) for _ in range(count)]


class ServerProcess:
    """What of a server has to do with the journal, until its fuse ends it."""

    def __init__(
        self, kept: Kept, bus: FlakyBus, fuse: Fuse, retired: Counter[SessionId], noted: "NotedInMemory"
    ) -> None:
        self.fuse = fuse
        if isinstance(kept, Database):
            kept = cast("Database", FusedDatabase(kept, fuse))
        ports = stores_on(kept)
        store = cast("SessionStore", Fused(ports[0], "store", fuse))
        journal = cast("Journal", Fused(ports[1], "journal", fuse))

        async def release(stopped: Sequence[tuple[TenantId, SessionId]]) -> None:
            for _, session_id in stopped:
                fuse.step("before a session's tiles are released")
                retired[session_id] += 1
                fuse.step("after a session's tiles are released")

        async def bring_back(_: TenantId, __: SessionId) -> None:
            fuse.step("tiles of a session that starts again are awaited")

        async def note(_: TenantId, __: SessionId) -> None:
            fuse.step("a changed requirement is noted")

        async def end_copies(_: Sequence[JournalEntry]) -> None:
            fuse.step("older copies of the sessions end")

        fused_bus = cast("FlakyBus", Fused(bus, "bus", fuse))
        self.relay = OutboxRelay(journal, fused_bus, CHANNEL, release, bring_back, note, end_copies)
        self.feed = JournalFeed(journal, fused_bus, CHANNEL)
        self.times_copies_ended = 0
        self.watch = JournalWatch(journal, self.feed, noted, self._forget_copies)
        self.sessions = Sessions(store, lambda: NOW, self._committed)
        self.events = SessionEvents(store, journal, self.feed, lambda: NOW)
        self.died = asyncio.Event()
        """Set once a part of it has met its end; the rest is as good as gone."""
        self._gone = asyncio.Event()
        self._tasks = [self._watched(part.run()) for part in (self.relay, self.feed, self.watch)]

    async def _forget_copies(self) -> None:
        self.times_copies_ended += 1

    def _committed(self) -> None:
        self.relay.wake()
        self.feed.wake()

    def _watched(self, work: Coroutine[None, None, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        task.add_done_callback(lambda _: self.died.set())
        return task

    async def create(self, caller: Caller, wanted: NewSession) -> Session:
        """A new session, as a client asks for one that has no key and no name for it."""
        await self.sessions.ensure_main(caller)
        change = sessions.create(wanted, caller.tenant_id, caller.owner_id, NOW)
        await self.sessions.commit(change)
        return change.created[0]

    async def gone(self) -> None:
        """Wait until it is killed."""
        await self._gone.wait()

    async def kill(self) -> None:
        """Nothing of it goes on."""
        self._gone.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@dataclass
class FollowingClient:
    """A client that keeps its last cursor, and subscribes again with it whenever its stream is cut."""

    caller: Caller
    wanted: EventsWanted
    cursor: str = field(default_factory=lambda: encode_position(0))
    told: list[JournalEntry] = field(default_factory=list)

    async def follow(self, world: "JournalWorld", drops_out: Callable[[], bool]) -> None:
        """Follow whichever process there is, until cancelled."""
        while True:
            process = world.process
            # A client's connection ends with the process.
            await run_together(self._stream(process, drops_out), process.gone())
            await asyncio.sleep(0.001)

    async def _stream(self, process: "ServerProcess", drops_out: Callable[[], bool]) -> None:
        try:
            stream = process.events.follow(self.caller, self.wanted, self.cursor)
            async with contextlib.aclosing(cast("AsyncGenerator[JournalEntry]", stream)):
                async for entry in stream:
                    self.told.append(entry)
                    self.cursor = encode_position(entry.position)
                    if drops_out():
                        break
        except Killed:
            await process.gone()


class JournalWorld:
    """One tenant's sessions under processes that die one after the other, and its clients."""

    def __init__(self, kept: Kept, tenant: str, chance: random.Random) -> None:
        self.kept, self.chance = kept, chance
        self.caller = Caller(TenantId(tenant), "ann", ALL_SCOPES)
        self.bus = FlakyBus(chance)
        self.retired: Counter[SessionId] = Counter()
        self.noted = NotedInMemory()
        self.store, self.journal = stores_on(kept)
        self.killed_at: list[str] = []
        self.process = self._start(None)

    async def new_session(self, owner: str = "ann", tenant_id: TenantId | None = None, source: str = "") -> Session:
        """A session, whose start is told."""
        wanted = NewSession(data_source=source or None)
        change = sessions.create(wanted, tenant_id or self.caller.tenant_id, owner, NOW)
        await self.store.commit(change)
        return change.created[0]

    async def tick(self, session: Session, count: int = 1) -> None:
        """So many ticks of a session are told, at once."""
        await self.journal.append([event_of(session, SessionEventType.SESSION_TICK, None, NOW) for _ in range(count)])
        self.process.feed.wake()

    def _start(self, killed_at_step: int | None) -> ServerProcess:
        return ServerProcess(self.kept, self.bus, Fuse(killed_at_step, self.chance), self.retired, self.noted)

    async def restart(self, killed_at_step: int | None) -> None:
        """End the process that runs, and begin one that will be killed at a step."""
        if (at := self.process.fuse.at) is not None and len(self.process.fuse.steps) >= at:
            self.killed_at.append(self.process.fuse.steps[at - 1])
        former, self.process = self.process, self._start(killed_at_step)
        await former.kill()

    async def entries(self) -> list[JournalEntry]:
        """The tenant's whole journal."""
        return [one for one in await self.journal.entries_after(0, 10**9) if self._is_mine(one)]

    async def rest(self, client: "FollowingClient") -> None:
        """Wait until all is relayed and told to a client, or the process is dead."""
        async with asyncio.timeout(SECONDS_MAX):
            while not self.process.died.is_set():
                unrelayed = any(self._is_mine(entry) for entry in await self.journal.unrelayed(10**9))
                if not unrelayed and len(client.told) >= len(await self.entries()):
                    return
                self.process.relay.wake()
                self.process.feed.wake()
                await asyncio.sleep(0.001)

    def _is_mine(self, entry: JournalEntry) -> bool:
        return entry.event.tenant_id == self.caller.tenant_id
