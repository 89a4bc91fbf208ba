"""Owns how changes that come at once share a transaction: gathered while one runs, each undone on its own if it fails.

What a durable commit costs is the wait for the disk, and on PostgreSQL the turn among all processes; so many changes
take it together. A change that comes alone waits for nobody; one that comes before the commit of another is in it.
A change that nobody waits for is patient: it lets those that somebody waits for go first.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from subgraph.adapters.sql.failures import RETRY_AFTER_SECONDS, is_lost_race
from subgraph.domain.errors import Unavailable

GROUP_MAX = 100
"""Changes that share a transaction at most: how long the first of them waits for the last."""
WAITING_MAX = 10_000
"""Changes of one process that wait for a transaction at most; more are Unavailable at once."""
LULL_SECONDS = 0.002
"""After the last change was made, until a patient one begins: so long its caller has the processor for the answer.
There is no better moment: whoever has just been answered does not come at once."""
PATIENCE_SECONDS = 0.03
"""For how long a patient change waits for others to be served, while they come as often; then it is one of them."""
ATTEMPTS_MAX = 3
"""How often a transaction is tried that was undone for the sake of another one."""

T = TypeVar("T")
Work = Callable[[Connection], T]
"""A change as a function of the connection. It may be called again after its statements were undone."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A change that raised, and of which nothing is left."""

    error: Exception


Outcome = Any | Failed
Latecomers = Callable[[], Sequence[Work[Any]]]
"""The changes that have come by now. It may be called in a thread."""
CarryOut = Callable[[Sequence[Work[Any]], Latecomers], Awaitable[list[Outcome]]]
"""Carries changes out in one transaction, durably, with those that come until then; raises if none of them was.
A function of the kind of database."""


class GroupCommit:
    """The changes of one process to one database, in the order in which they came."""

    def __init__(self, carry_out: CarryOut, wait_seconds: float) -> None:
        self._carry_out = carry_out
        self._wait_seconds = wait_seconds
        self._waiting: deque[_Change] = deque()
        self._patient: deque[_Change] = deque()
        self._carrying: asyncio.Task[None] | None = None
        self._served_at = float("-inf")
        """When the last change was made that somebody waited for, by the loop's clock."""

    async def write(self, work: Work[T], *, is_patient: bool = False) -> T:
        """Carry the work out in a transaction that is durable when this returns.

        A caller that gives up leaves the whole change or nothing.

        Args:
            work: the change.
            is_patient: whether others are served first. While some come again and again, it begins after one of them,
                as soon as nobody waits; while nobody comes, at once.

        Raises:
            Unavailable: too many changes wait, or this one did not begin in time.
        """
        if len(self._waiting) + len(self._patient) >= WAITING_MAX:
            raise Unavailable(f"the database is busy: {WAITING_MAX:,} changes wait for it", RETRY_AFTER_SECONDS)
        loop = asyncio.get_running_loop()
        change = _Change(work, loop.create_future(), is_patient)
        timers = [loop.call_later(self._wait_seconds, change.give_up)]
        if is_patient and loop.time() < self._served_at + PATIENCE_SECONDS:
            self._patient.append(change)
            timers.append(loop.call_later(PATIENCE_SECONDS, self._end_patience))
        else:
            self._waiting.append(change)
            self._go_on()
        try:
            written: T = await change.done
            return written
        finally:
            for timer in timers:
                timer.cancel()

    async def aclose(self) -> None:
        """Wait for the changes that have come."""
        self._end_patience()
        if self._carrying is not None:
            await asyncio.wait([self._carrying])

    def _go_on(self) -> None:
        if self._carrying is None and self._waiting:
            self._carrying = asyncio.get_running_loop().create_task(self._carry())

    def _end_patience(self) -> None:
        self._waiting.extend(self._patient)
        self._patient.clear()
        self._go_on()

    def _use_lull(self) -> None:
        # If somebody is served, there is a lull after that.
        if self._carrying is None:
            self._end_patience()

    async def _carry(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while group := self._begun(GROUP_MAX):
                try:
                    outcomes = await self._attempt(group)
                except Exception as error:
                    outcomes = [Failed(error)] * len(group)
                for change, outcome in zip(group, outcomes, strict=True):
                    change.tell(outcome)
                if not all(change.is_patient for change in group):
                    self._served_at = loop.time()
        finally:
            self._carrying = None
            if self._patient:
                loop.call_later(LULL_SECONDS, self._use_lull)

    def _begun(self, most: int) -> list["_Change"]:
        """The next changes, which begin with this; whoever gave up before is left out."""
        group: list[_Change] = []
        while self._waiting and len(group) < most:
            change = self._waiting.popleft()
            if change.begin():
                group.append(change)
        return group

    async def _attempt(self, group: list["_Change"]) -> list[Outcome]:
        def latecomers() -> Sequence[Work[Any]]:
            late = self._begun(GROUP_MAX - len(group))
            group.extend(late)
            return [change.work for change in late]

        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await self._carry_out([change.work for change in group], latecomers)
            except Exception as error:
                if not is_lost_race(error) or attempt == ATTEMPTS_MAX:
                    raise
        raise AssertionError("the last attempt returns or raises")


def carry_out_together(connection: Connection, works: Sequence[Work[Any]], latecomers: Latecomers) -> list[Outcome]:
    """Carry changes out one after the other in the connection's transaction, and tell what became of each.

    Raises:
        Exception: the transaction is lost, and all changes with it.
    """
    # If one alone fails, nothing else is lost with the transaction.
    outcomes = [works[0](connection)] if len(works) == 1 else [_carry_out(connection, work) for work in works]
    while late := latecomers():
        outcomes += [_carry_out(connection, work) for work in late]
    return outcomes


def _carry_out(connection: Connection, work: Work[Any]) -> Outcome:
    savepoint = connection.begin_nested()
    try:
        outcome = work(connection)
    except Exception as error:
        if is_lost_race(error):
            raise
        try:
            savepoint.rollback()
        except Exception:
            # Without its savepoint the transaction is gone: what became of it is in the first error.
            raise error from None
        return Failed(error)
    savepoint.commit()
    return outcome


@dataclass(eq=False, slots=True)
class _Change:
    work: Work[Any]
    done: "asyncio.Future[Any]"
    is_patient: bool
    _has_begun: bool = False
    # A change begins in the thread that carries out others, and gives up on the loop: one or the other.
    _either: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> bool:
        """Whether the change is to be carried out, from now on whatever comes."""
        with self._either:
            self._has_begun = not self.done.done()
            return self._has_begun

    def give_up(self) -> None:
        """Tell that it took too long, if it has not begun."""
        with self._either:
            if not self._has_begun and not self.done.done():
                self.done.set_exception(
                    Unavailable("the database is busy: the change did not begin in time", RETRY_AFTER_SECONDS)
                )

    def tell(self, outcome: Outcome) -> None:
        """Tell what became of it."""
        if self.done.done():
            return
        if isinstance(outcome, Failed):
            self.done.set_exception(outcome.error)
        else:
            self.done.set_result(outcome)
