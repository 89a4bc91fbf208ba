"""PostgreSQL in service: every wait ends, a server that was away is found again, and lost races are run again."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from subgraph.adapters.sql import postgres_connections
from subgraph.adapters.sql.database import Database, DatabaseUnusable, open_database
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from subgraph.adapters.sql.postgres_connections import JOURNAL_LOCK
from subgraph.adapters.sql.tables import FLEET
from subgraph.domain.errors import InvalidInput, Unavailable
from tests.support.databases import execute_in, postgres_database
from tests.support.own_postgres import OwnPostgres, missing_postgres, own_postgres

pytestmark = pytest.mark.anyio

BRIEF = 0.3


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with postgres_database(tmp_path) as made:
        yield made


@pytest.fixture
async def database(url: str) -> AsyncIterator[Database]:
    opened = await open_database(url, busy_wait_seconds=BRIEF, connection_wait_seconds=5 * BRIEF)
    yield opened
    await opened.close()


@pytest.fixture
def own_server() -> Iterator[OwnPostgres]:
    """A server that a test may end and start again."""
    if why := missing_postgres():
        pytest.skip(f"PostgreSQL is {why}")
    with own_postgres() as server:
        yield server


def put(name: str, incarnation: int = 1) -> "Put":
    return Put(name, incarnation)


class Put:
    """A change that writes a row, and counts how often it was asked to."""

    def __init__(self, name: str, incarnation: int) -> None:
        self.name, self.incarnation, self.calls = name, incarnation, 0

    def __call__(self, connection: Connection) -> None:
        self.calls += 1
        connection.execute(insert(FLEET).values(id=self.name, incarnation=self.incarnation))


async def kept(database: Database) -> list[str]:
    async with database.reading() as connection:
        return sorted(await connection.scalars(select(FLEET.c.id)))


# ── URLs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+asyncpg"])
async def test_every_usual_scheme_opens_the_database(scheme: str, url: str) -> None:
    await (await open_database(url.replace("postgresql+asyncpg", scheme))).close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("postgresql://ann:secret@127.0.0.1:1/sessions", "cannot be used"),
        ("postgresql://ann:secret@127.0.0.1:1/sessions?password=secret", "no options but host and sslmode"),
        ("postgresql://ann:secret@127.0.0.1:1/sessions?sslmode=secret", "its sslmode must be one of"),
        ("postgresql://ann:secret@127.0.0.1:1/", "name a host and a database"),
        ("postgresql:///sessions", "name a host and a database"),
        ("postgresql+psycopg2://ann:secret@127.0.0.1:1/sessions", "SQLite or PostgreSQL"),
    ],
)
async def test_what_cannot_be_used_is_refused_in_one_line_without_its_secrets(url: str, reason: str) -> None:
    with pytest.raises(DatabaseUnusable, match=reason) as refused:
        await open_database(url)
    message = str(refused.value)
    assert "secret" not in message
    assert "\n" not in message


async def test_a_database_that_is_not_there_is_refused_by_name(url: str) -> None:
    with pytest.raises(DatabaseUnusable, match="no_such_database"):
        await open_database(url.replace("/test_", "/no_such_database_"))


# ── Waits ─────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_who_waits_for_anothers_lock_is_told_unavailable_in_time_and_served_afterwards(
    database: Database, url: str
) -> None:
    await database.write(put("a"))

    async def wait_in_vain() -> None:
        def raise_it(connection: Connection) -> None:
            connection.execute(update(FLEET).values(incarnation=2))

        started_at = time.monotonic()
        with pytest.raises(Unavailable, match="lock") as refused:
            await database.write(raise_it)
        assert refused.value.retry_after_seconds is not None
        with pytest.raises(Unavailable, match="lock"):
            await SqlFleetRegister(database).raise_incarnation("a")
        assert time.monotonic() - started_at < 30

    other = await open_database(url)
    async with other.writing() as connection:
        await connection.execute(update(FLEET).values(incarnation=3))
        await wait_in_vain()
        assert await SqlFleetRegister(database).incarnation("a") == 1
    await other.close()
    assert await SqlFleetRegister(database).raise_incarnation("a") == 4


async def test_who_waits_for_the_journal_is_told_unavailable_in_time(database: Database, url: str) -> None:
    other = await open_database(url)
    async with other.writing() as connection:
        await connection.execute(text(f"SELECT pg_advisory_xact_lock({JOURNAL_LOCK})"))
        with pytest.raises(Unavailable, match="lock"):
            await database.write(put("a"))
    await other.close()
    await database.write(put("a"))


async def test_a_process_that_stands_still_within_a_transaction_loses_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_connections, "IDLE_SECONDS_MAX", BRIEF)
    still = await open_database(url)

    async def stand_still() -> None:
        async with still.writing() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({JOURNAL_LOCK})"))
            await asyncio.sleep(4 * BRIEF)
            await connection.execute(insert(FLEET).values(id="still", incarnation=1))

    with pytest.raises(Unavailable):
        await stand_still()
    await still.write(put("next"))
    assert await kept(still) == ["next"]
    await still.close()


async def test_a_statement_that_takes_too_long_is_ended(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connections, "STATEMENT_SECONDS_MAX", BRIEF)
    database = await open_database(url)
    with pytest.raises(Unavailable, match="statement timeout"):
        async with database.reading() as connection:
            await connection.execute(text("SELECT pg_sleep(60)"))
    await database.check()
    await database.close()


async def test_readers_beyond_the_pool_wait_for_a_bounded_time(database: Database) -> None:
    async def hold(seconds: float) -> None:
        async with database.reading() as connection:
            await connection.execute(text(f"SELECT pg_sleep({seconds})"))

    holders = [asyncio.create_task(hold(4)) for _ in range(postgres_connections.READERS_MAX)]
    await asyncio.sleep(BRIEF)
    with pytest.raises(Unavailable, match="no connection became free"):
        await database.check()
    await asyncio.gather(*holders)
    await database.check()


# ── A server that goes away ───────────────────────────────────────────────────────────────────────────────────────


async def test_a_restart_of_the_server_is_survived_and_meanwhile_all_is_unavailable(own_server: OwnPostgres) -> None:
    database = await open_database(own_server.url)
    await database.write(put("before"))
    await asyncio.gather(*(database.check() for _ in range(postgres_connections.READERS_MAX)))
    await asyncio.to_thread(own_server.stop)
    for attempt in (database.check(), database.write(put("lost")), SqlFleetRegister(database).raise_incarnation("a")):
        with pytest.raises(Unavailable):
            await attempt
    await asyncio.to_thread(own_server.start)
    # At once: no connection of the former server is used again.
    await asyncio.gather(*(database.check() for _ in range(postgres_connections.READERS_MAX)))
    await database.write(put("after"))
    assert await kept(database) == ["after", "before"]
    await database.close()


async def test_connections_cut_off_while_in_use_are_unavailable_and_replaced(database: Database, url: str) -> None:
    async def cut_off() -> None:
        await asyncio.sleep(BRIEF)
        ours = "application_name = 'session-manager' AND pid <> pg_backend_pid() AND datname = current_database()"
        await execute_in(
            url, lambda it: it.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {ours}"))
        )

    def linger(connection: Connection) -> None:
        connection.execute(insert(FLEET).values(id="lost", incarnation=1))
        connection.execute(text("SELECT pg_sleep(60)"))

    cutting = asyncio.create_task(cut_off())
    with pytest.raises(Unavailable):
        await database.write(linger)
    await cutting
    await database.write(put("after"))
    assert await kept(database) == ["after"]


# ── Races and refusals ────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_change_undone_to_end_a_deadlock_is_tried_again_and_made(url: str) -> None:
    """It takes b while holding a; another, which is not among those that take turns, takes a while holding b."""
    database, other = await open_database(url), await open_database(url)
    for name in ("a", "b"):
        await database.write(put(name))
    both_hold = asyncio.Event()
    calls = 0

    def take(connection: Connection, name: str) -> None:
        connection.execute(update(FLEET).where(FLEET.c.id == name).values(incarnation=FLEET.c.incarnation + 1))

    def change(connection: Connection) -> None:
        nonlocal calls
        calls += 1
        # Who waits for longer is not the one that is undone: the server looks for rings after this time.
        connection.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
        take(connection, "a")
        connection.execute(text("SELECT pg_sleep(0.3)"))
        take(connection, "b")

    async def interfere() -> None:
        async with other.writing() as connection:
            await connection.execute(text("SET LOCAL deadlock_timeout = '10s'"))
            await connection.run_sync(take, "b")
            both_hold.set()
            await asyncio.sleep(0.15)
            await connection.run_sync(take, "a")

    interfering = asyncio.create_task(interfere())
    await both_hold.wait()
    await database.write(change)
    await interfering
    # More than twice if it is so quick the second time that it gets a before the other one, which waits for it, wakes.
    assert calls >= 2
    assert [await SqlFleetRegister(database).incarnation(name) for name in ("a", "b")] == [3, 3]
    await database.close()
    await other.close()


async def test_readers_cannot_write(database: Database) -> None:
    with pytest.raises(Unavailable, match="read-only"):
        async with database.reading() as connection:
            await connection.execute(insert(FLEET).values(id="a", incarnation=1))


async def test_a_text_with_a_nul_is_refused_as_input(database: Database) -> None:
    with pytest.raises(InvalidInput, match="NUL"):
        await database.write(put("a\0b"))


async def test_a_wrong_statement_is_a_bug_and_not_a_database_that_does_not_answer(database: Database) -> None:
    for statement in ("SELECT * FROM no_such_table", "SELECT 1 / 0", "SELEC 1"):
        with pytest.raises(DBAPIError):
            async with database.reading() as connection:
                await connection.execute(text(statement))
