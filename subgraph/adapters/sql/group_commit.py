"""Owns how changes that come at once share a transaction: gathered while one runs, each undone on its own if it fails.

What a durable commit costs is the wait for the disk, and on PostgreSQL the turn among all processes; so many changes
take it together. A change that comes alone waits for nobody.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from subgraph.adapters.sql.failures import RETRY_AFTER_SECONDS, is_lost_race
from subgraph.domain.errors import Unavailable

GROUP_MAX = 100
"""Changes that share a transaction at most: how long the first of them waits for the last."""
WAITING_MAX = 10_000
"""Changes of one process that wait for a transaction at most; more are Unavailable at once."""
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
CarryOut = Callable[[Sequence[Work[Any]]], Awaitable[list[Outcome]]]
"""Carries changes out in one transaction, durably; raises if none of them was. A function of the kind of database."""


class GroupCommit:
    """The changes of one process to one database, in the order in which they came."""

    def __init__(self, carry_out: CarryOut, wait_seconds: float) -> None:
        self._carry_out = carry_out
        self._wait_seconds = wait_seconds
        self._waiting: deque[_Change] = deque()
        self._carrying: asyncio.Task[None] | None = None

    async def write(self, work: Work[T]) -> T:
        """Carry the work out in a transaction that is durable when this returns.

        A caller that gives up leaves the whole change or nothing.

        Raises:
            Unavailable: too many changes wait, or this one did not begin in time.
        """
        if len(self._waiting) >= WAITING_MAX:
            raise Unavailable(f"the database is busy: {WAITING_MAX:,} changes wait for it", RETRY_AFTER_SECONDS)
        loop = asyncio.get_running_loop()
        change = _Change(work, loop.create_future())
        self._waiting.append(change)
        if self._carrying is None:
            self._carrying = loop.create_task(self._carry())
        expiry = loop.call_later(self._wait_seconds, change.give_up)
        try:
            written: T = await change.done
            return written
        finally:
            expiry.cancel()

    async def aclose(self) -> None:
        """Wait for the changes that have come."""
        if self._carrying is not None:
            await asyncio.wait([self._carrying])

    async def _carry(self) -> None:
        try:
            while group := self._next_group():
                try:
                    outcomes = await self._attempt([change.work for change in group])
                except Exception as error:
                    outcomes = [Failed(error)] * len(group)
                for change, outcome in zip(group, outcomes, strict=True):
                    change.tell(outcome)
        finally:
            self._carrying = None

    def _next_group(self) -> list["_Change"]:
        group: list[_Change] = []
        while self._waiting and len(group) < GROUP_MAX:
            change = self._waiting.popleft()
            # Whoever gave up before the beginning is left out.
            if not change.done.done():
                change.has_begun = True
                group.append(change)
        return group

    async def _attempt(self, works: Sequence[Work[Any]]) -> list[Outcome]:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            try:
                return await self._carry_out(works)
            except Exception as error:
                if not is_lost_race(error) or attempt == ATTEMPTS_MAX:
                    raise
        raise AssertionError("the last attempt returns or raises")


def carry_out_together(connection: Connection, works: Sequence[Work[Any]]) -> list[Outcome]:
    """Carry changes out one after the other in the connection's transaction, and tell what became of each.

    Raises:
        Exception: the transaction is lost, and all changes with it.
    """
    if len(works) == 1:
        return [works[0](connection)]
    outcomes: list[Outcome] = []
    for work in works:
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
            outcome = Failed(error)
        else:
            savepoint.commit()
        outcomes.append(outcome)
    return outcomes


@dataclass(eq=False, slots=True)
class _Change:
    work: Work[Any]
    done: "asyncio.Future[Any]"
    has_begun: bool = False

    def give_up(self) -> None:
        if not self.has_begun and not self.done.done():
            self.done.set_exception(
                Unavailable("the database is busy: the change did not begin in time", RETRY_AFTER_SECONDS)
            )

    def tell(self, outcome: Outcome) -> None:
        if self.done.done():
            return
        if isinstance(outcome, Failed):
            self.done.set_exception(outcome.error)
        else:
            self.done.set_result(outcome)
