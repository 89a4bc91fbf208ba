"""Changes that come at once share a transaction, on every database: who fails fails alone, nobody waits for company."""

import asyncio
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Connection, func, insert, select, text

from subgraph.adapters.sql import group_commit
from subgraph.adapters.sql.database import Database, open_database
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import FLEET
from subgraph.domain import sessions
from subgraph.domain.errors import InvalidInput, NameTaken, Unavailable
from subgraph.domain.ids import TenantId
from subgraph.domain.new_session import NewSession

pytestmark = pytest.mark.anyio

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def put(name: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(insert(FLEET).values(id=name, incarnation=1))
        return name

    return work


def fail_after_putting(name: str) -> Callable[[Connection], None]:
    def work(connection: Connection) -> None:
        put(name)(connection)
        raise LookupError(name)

    return work


def misspell(connection: Connection) -> None:
    connection.execute(text("SELECT no_such_column FROM fleet"))


async def kept(database: Database) -> list[str]:
    async with database.reading() as connection:
        return sorted(await connection.scalars(select(FLEET.c.id)))


async def test_each_change_gets_its_own_result_in_the_order_in_which_they_came(database: Database) -> None:
    names = [f"{number:03}" for number in range(group_commit.GROUP_MAX * 2 + 1)]
    assert await asyncio.gather(*(database.write(put(name)) for name in names)) == names
    assert await kept(database) == names


async def test_one_that_fails_loses_itself_alone(database: Database) -> None:
    works = [put("a"), fail_after_putting("b"), put("c"), misspell, put("a"), put("d")]
    outcomes = await asyncio.gather(*(database.write(work) for work in works), return_exceptions=True)
    failed = [type(outcome).__name__ for outcome in outcomes if isinstance(outcome, Exception)]
    assert [outcome for outcome in outcomes if not isinstance(outcome, BaseException)] == ["a", "c", "d"]
    assert failed[0] == "LookupError"
    assert failed[1] in ("OperationalError", "ProgrammingError")
    assert failed[2] == "IntegrityError"
    assert await kept(database) == ["a", "c", "d"]


async def test_one_that_fails_alone_leaves_nothing(database: Database) -> None:
    with pytest.raises(LookupError):
        await database.write(fail_after_putting("a"))
    assert await kept(database) == []


async def test_of_many_that_want_one_name_at_once_one_gets_it_and_the_others_learn_who_has_it(
    database: Database,
) -> None:
    store = SqlSessionStore(database)
    changes = [sessions.create(NewSession(display_name="a"), TENANT, "ann", NOW) for _ in range(20)]
    others = [sessions.create(NewSession(display_name=f"b{n}"), TENANT, "ann", NOW) for n in range(20)]
    both = [change for pair in zip(changes, others, strict=True) for change in pair]
    outcomes = await asyncio.gather(*map(store.commit, both), return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    winner = changes[[outcomes[both.index(change)] for change in changes].index(None)]
    assert len(refused) == 19
    for outcome in refused:
        assert isinstance(outcome, NameTaken)
        assert outcome.conflicting_id == winner.created[0].id


async def test_a_text_that_no_database_keeps_is_refused_and_its_neighbours_are_kept(database: Database) -> None:
    outcomes = await asyncio.gather(
        *(database.write(put(name)) for name in ("a", "half \ud83d", "b")), return_exceptions=True
    )
    assert [type(outcome) for outcome in outcomes] == [str, InvalidInput, str]
    assert await kept(database) == ["a", "b"]


async def test_changes_that_come_at_once_share_transactions_and_one_alone_waits_for_nobody(
    database: Database, database_url: str
) -> None:
    """Told from how many moments a reader can see."""
    seen: set[int] = set()
    await database.write(put("first"))
    other = await open_database(database_url)
    alone = asyncio.create_task(database.write(put("alone")))
    await alone
    writing = asyncio.gather(*(database.write(put(f"{number}")) for number in range(60)))
    while not writing.done():
        async with other.reading() as connection:
            seen.add(await connection.scalar(select(func.count()).select_from(FLEET)) or 0)
    await other.close()
    assert seen <= {2, 3, 62}, "the first goes at once, all that came meanwhile go together"


@pytest.mark.parametrize("late", [put("late"), fail_after_putting("late"), put("first")])
async def test_one_that_comes_before_the_commit_of_another_is_done_or_fails_by_itself(
    database: Database, late: Callable[[Connection], object]
) -> None:
    loop, is_asked = asyncio.get_running_loop(), threading.Event()
    coming: list[asyncio.Task[object]] = []

    async def come() -> object:
        is_asked.set()
        return await database.write(late)

    def first(connection: Connection) -> str:
        put("first")(connection)
        loop.call_soon_threadsafe(lambda: coming.append(loop.create_task(come())))
        while not is_asked.is_set():
            connection.execute(select(FLEET.c.id))
        return "first"

    assert await database.write(first) == "first"
    (outcome,) = await asyncio.gather(*coming, return_exceptions=True)
    assert await kept(database) == (["first"] if isinstance(outcome, Exception) else ["first", "late"])


async def test_a_caller_that_gives_up_takes_nobody_with_it(database: Database) -> None:
    tasks = [asyncio.create_task(database.write(put(f"{number:02}"))) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert await database.write(put("after")) == "after"
    stayed = [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert stayed == [f"{number:02}" for number in range(20) if number % 3]
    assert set(stayed) < set(await kept(database))


async def test_more_changes_than_may_wait_are_unavailable_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "WAITING_MAX", 5)
    writes = [database.write(put(f"{number}")) for number in range(9)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [str] * 5 + [Unavailable] * 4
    assert len(await kept(database)) == 5


async def test_closing_finishes_the_changes_that_have_come(database: Database, database_url: str) -> None:
    tasks = [asyncio.create_task(database.write(put(f"{number}"))) for number in range(10)]
    await asyncio.sleep(0)
    await database.close()
    await asyncio.gather(*tasks)
    with pytest.raises(Unavailable):
        await database.write(put("late"))
    again = await open_database(database_url)
    assert len(await kept(again)) == 10
    await again.close()
