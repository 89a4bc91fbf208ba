"""Which changes share a transaction, and which go first: told from what a database that only notes them was given."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest
from sqlalchemy import Connection

from subgraph.adapters.sql import group_commit
from subgraph.adapters.sql.group_commit import GroupCommit, Latecomers, Outcome, Work, carry_out_together
from subgraph.domain.errors import Unavailable

pytestmark = pytest.mark.anyio


class Savepoints:
    """A connection without any statements."""

    def begin_nested(self) -> "Savepoints":
        return self

    def commit(self) -> None: ...

    def rollback(self) -> None: ...


class NotingDatabase:
    """Notes what each transaction has done; each may begin, and be committed, only when the test lets it."""

    def __init__(self) -> None:
        self.transactions: list[list[Outcome]] = []
        self.may_begin = asyncio.Event()
        self.may_begin.set()

    async def carry_out(self, works: Sequence[Work[Any]], latecomers: Latecomers) -> list[Outcome]:
        await self.may_begin.wait()
        outcomes = carry_out_together(cast(Connection, Savepoints()), works, latecomers)
        self.transactions.append(outcomes)
        return outcomes


def doing(name: str) -> Callable[[Connection], str]:
    return lambda _: name


async def test_who_comes_before_a_commit_is_in_it_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "GROUP_MAX", 3)
    database = NotingDatabase()
    gathered = GroupCommit(database.carry_out, 10.0)
    database.may_begin.clear()
    first = asyncio.create_task(gathered.write(doing("first")))
    await asyncio.sleep(0.001)
    others = [asyncio.create_task(gathered.write(doing(name))) for name in "abc"]
    await asyncio.sleep(0)
    database.may_begin.set()
    assert await asyncio.gather(first, *others) == ["first", "a", "b", "c"]
    assert database.transactions == [["first", "a", "b"], ["c"]]


async def test_who_gave_up_before_the_commit_is_not_in_it() -> None:
    database = NotingDatabase()
    gathered = GroupCommit(database.carry_out, 0.02)
    database.may_begin.clear()
    first = asyncio.create_task(gathered.write(doing("first")))
    await asyncio.sleep(0.001)
    with pytest.raises(Unavailable, match="did not begin in time"):
        await gathered.write(doing("late"))
    database.may_begin.set()
    assert await first == "first"
    assert database.transactions == [["first"]]


async def test_a_patient_change_goes_at_once_while_nobody_comes_and_otherwise_after_whoever_comes_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 10.0)
    database = NotingDatabase()
    gathered = GroupCommit(database.carry_out, 10.0)
    assert await gathered.write(doing("sweep 1"), is_patient=True) == "sweep 1"
    assert await gathered.write(doing("sweep 2"), is_patient=True) == "sweep 2"
    await gathered.write(doing("a"))
    sweep = asyncio.create_task(gathered.write(doing("sweep 3"), is_patient=True))
    await asyncio.sleep(0.01)
    assert not sweep.done()
    await gathered.write(doing("b"))
    assert await sweep == "sweep 3"
    assert database.transactions == [["sweep 1"], ["sweep 2"], ["a"], ["b"], ["sweep 3"]]


async def test_patience_ends_where_there_is_always_somebody_and_where_nobody_comes_any_more() -> None:
    database = NotingDatabase()
    gathered = GroupCommit(database.carry_out, 10.0)
    await gathered.write(doing("a"))
    assert await gathered.write(doing("after nobody"), is_patient=True) == "after nobody"

    is_swept = asyncio.Event()

    async def come() -> None:
        while not is_swept.is_set():
            await gathered.write(doing("caller"))
            await asyncio.sleep(0)

    callers = [asyncio.create_task(come()) for _ in range(3)]
    async with asyncio.timeout(5.0):
        assert await gathered.write(doing("among many"), is_patient=True) == "among many"
    is_swept.set()
    await asyncio.gather(*callers)


async def test_closing_ends_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", 10.0)
    database = NotingDatabase()
    gathered = GroupCommit(database.carry_out, 10.0)
    await gathered.write(doing("a"))
    sweep = asyncio.create_task(gathered.write(doing("sweep"), is_patient=True))
    await asyncio.sleep(0)
    await gathered.aclose()
    assert await sweep == "sweep"
