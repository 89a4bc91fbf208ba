"""Opening SQLite files: made, migrated, shared or refused with one line; and waits of its users that end."""

import asyncio
import contextlib
import os
import random
import re
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from subgraph.adapters.sql import schema_upgrade
from subgraph.adapters.sql.database import (
    Database,
    DatabaseTooNew,
    DatabaseUnusable,
    migrate_database,
    open_database,
    sqlite_url,
)
from subgraph.adapters.sql.failures import told_to_callers
from subgraph.adapters.sql.fleet_register import SqlFleetRegister
from subgraph.adapters.sql.idempotency_keys import SqlIdempotencyKeys
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_directory import SqlSessionDirectory
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import METADATA
from subgraph.adapters.sql.term_history import SqlTermHistory
from subgraph.domain import sessions
from subgraph.domain.errors import Unavailable
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.fleet.terms import TermChange, TermFacts
from subgraph.domain.ids import TenantId
from subgraph.domain.new_session import NewSession
from subgraph.domain.ownership import AssignmentReason, AssignmentState, Term
from subgraph.domain.session_ref import RefKind
from subgraph.operations.history.term_history import TermFilter
from tests.support.databases import execute_in, migrate_to, python_process, take_back_to
from tests.support.fleets import T1, A
from tests.support.opening_processes import incarnations_raised_at_once

pytestmark = pytest.mark.anyio

TENANT = TenantId("tenant")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.sqlite3"


@pytest.fixture
async def database(path: Path) -> AsyncIterator[Database]:
    opened = await open_database(sqlite_url(path))
    yield opened
    await opened.close()


async def refusal(url: str) -> str:
    with pytest.raises(DatabaseUnusable) as refused:
        await open_database(url)
    message = str(refused.value)
    assert "\n" not in message
    return message


def content(path: Path) -> bytes:
    return path.read_bytes()


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def overwrite(path: Path, with_content: bytes) -> None:
    path.write_bytes(with_content)


def execute(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


# ── URLs ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
async def test_both_schemes_open_the_file_they_name(scheme: str, path: Path) -> None:
    await (await open_database(f"{scheme}:///{path}")).close()
    assert content(path).startswith(b"SQLite format 3\0")


async def test_a_relative_path_is_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    await (await open_database(f"sqlite:///{path.name}")).close()
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("name", ["a b", "100%.db", "%41", "x?mode=ro", "a#b", "ü", "a:b@c", ":memory:", "file:x"])
async def test_every_character_of_a_path_is_kept(tmp_path: Path, name: str) -> None:
    database = await open_database(sqlite_url(tmp_path / name))
    assert await SqlFleetRegister(database).raise_incarnation("fleet") == 1
    await database.close()
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:secret@db.example/sessions",
        "postgresql+asyncpg://ann:secret@db.example/sessions?password=secret",
        "mysql://ann:secret@db.example/x",
        "sqlite+pysqlcipher://:secret@/x.db",
        "sqlite://ann:secret@db.example/x.db",
        "sqlite:///x.db?key=secret",
        "ann:secret@db.example",
        "://secret",
        "",
    ],
)
async def test_other_urls_are_refused_in_one_line_without_their_secrets(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "secret" not in await refusal(url)
    assert names(tmp_path) == []


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+aiosqlite:///:memory:"])
async def test_a_database_in_memory_is_refused(url: str) -> None:
    assert "memory" in await refusal(url)


# ── Files that cannot be used ─────────────────────────────────────────────────────────────────────────────────────


async def test_a_newer_versions_database_is_refused_by_name_with_both_revisions(path: Path) -> None:
    await (await open_database(sqlite_url(path))).close()
    execute(path, "UPDATE alembic_version SET version_num = '9999_future'")
    before = content(path)
    with pytest.raises(DatabaseTooNew) as refused:
        await open_database(sqlite_url(path))
    message = str(refused.value)
    assert str(path) in message
    assert "9999_future" in message
    assert schema_upgrade.HEAD_REVISION in message
    assert "\n" not in message
    assert content(path) == before


@pytest.mark.parametrize("garbage", [b"garbage", b"garbage" * 10_000, b"SQLite format 3\0" + b"garbage" * 1_000])
async def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(path: Path, garbage: bytes) -> None:
    overwrite(path, garbage)
    assert str(path) in await refusal(sqlite_url(path))
    assert content(path) == garbage


async def test_somebody_elses_database_is_refused_and_left_as_it_is(path: Path) -> None:
    execute(path, "CREATE TABLE session (theirs)")
    before = content(path)
    assert str(path) in await refusal(sqlite_url(path))
    assert content(path) == before


async def test_a_directory_a_missing_one_and_one_that_takes_no_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "absent" / "x.db", Path("/proc/x.db"), Path("/dev/null/x.db")):
        assert str(path) in await refusal(sqlite_url(path))
    assert names(tmp_path) == []


async def test_a_database_that_another_process_keeps_busy_is_refused_after_a_bounded_wait(path: Path) -> None:
    await (await open_database(sqlite_url(path))).close()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnusable, match="locked"):
        await open_database(sqlite_url(path), busy_wait_seconds=0.1)
    holder.close()
    await (await open_database(sqlite_url(path))).close()


# ── The schema ────────────────────────────────────────────────────────────────────────────────────────────────────

_COMMA_OUTSIDE_BRACKETS = re.compile(r",(?![^(]*\))")


def _inside_brackets(sql: str) -> str:
    return sql[sql.index("(") + 1 : sql.rindex(")")]


async def test_a_new_database_is_exactly_what_all_migrations_make(tmp_path: Path) -> None:
    def structure(connection: Connection) -> dict[str, list[str]]:
        rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
        # Columns and constraints, sorted: neither the layout nor their order is part of a table's shape.
        return {
            row.name: sorted(part.strip() for part in _COMMA_OUTSIDE_BRACKETS.split(_inside_brackets(row.sql)))
            if row.sql.startswith("CREATE TABLE")
            else [row.sql]
            for row in rows
            if not row.name.startswith("sqlite_")
        }

    new, migrated = (sqlite_url(tmp_path / name) for name in ("new", "migrated"))
    await migrate_database(new)
    await migrate_to(migrated, schema_upgrade.HEAD_REVISION)
    made = await execute_in(new, structure)
    assert made == await execute_in(migrated, structure)
    assert made.keys() > METADATA.tables.keys()


def test_the_head_is_the_newest_migration() -> None:
    scripts = ScriptDirectory(str(Path(schema_upgrade.__file__).parent / "migrations"))
    assert scripts.get_heads() == [schema_upgrade.HEAD_REVISION]


async def test_opening_again_keeps_what_is_there(path: Path) -> None:
    for expected in (1, 2, 3):
        database = await open_database(sqlite_url(path))
        assert await SqlFleetRegister(database).raise_incarnation("fleet") == expected
        await database.close()


async def test_sessions_of_an_older_database_are_there_after_its_upgrade_require_no_labels_and_never_expire(
    path: Path,
) -> None:
    database = await open_database(sqlite_url(path))
    change = sessions.create(NewSession(required_labels={"a": "b"}), TENANT, "ann", datetime(2026, 3, 1, tzinfo=UTC))
    await SqlSessionStore(database).commit(change)
    await database.close()
    await take_back_to(sqlite_url(path), "0001_sessions")

    database = await open_database(sqlite_url(path))
    (session,) = change.created
    stored = await SqlSessionStore(database).sessions(TENANT, [session.id])
    await database.close()
    kept = replace(session, required_labels={}, expiry_policy=ExpiryPolicy.NEVER, ttl=None, expires_at=None)
    assert stored == {session.id: kept}


async def test_a_database_from_before_there_was_a_history_keeps_all_it_had_and_takes_terms(path: Path) -> None:
    database = await open_database(sqlite_url(path))
    change = sessions.create(NewSession(), TENANT, "ann", datetime(2026, 3, 1, tzinfo=UTC))
    await SqlSessionStore(database).commit(change)
    assert await SqlFleetRegister(database).raise_incarnation("fleet") == 1
    await database.close()
    await take_back_to(sqlite_url(path), "0001_sessions")

    database = await open_database(sqlite_url(path))
    history = SqlTermHistory(database, "fleet")
    assert (await history.page(TermFilter(), 10, None)).items == ()
    term = Term(A, 7, AssignmentReason.INITIAL, assigned_at_ms=1_000)
    facts = TermFacts(TermChange(T1, term, AssignmentState.ACTIVE), TENANT, version=8)
    await history.record([facts])
    assert await history.terms([7]) == {7: facts}
    assert [entry.event for entry in await SqlJournal(database).unrelayed(10)] == list(change.events)
    assert await SqlFleetRegister(database).raise_incarnation("fleet") == 2
    await database.close()


async def test_neither_a_new_database_nor_a_current_one_needs_alembic(path: Path) -> None:
    program = """
import asyncio, sys
from subgraph.adapters.sql.database import open_database
async def main() -> None:
    await (await open_database(sys.argv[1])).close()
asyncio.run(main())
print("alembic" in sys.modules)
"""
    for _ in ("new", "current"):
        process = python_process(program, sqlite_url(path))
        output, errors = await asyncio.to_thread(process.communicate, None, 60)
        assert output == "False\n", errors


async def test_processes_that_start_at_once_make_one_database(path: Path) -> None:
    assert await incarnations_raised_at_once(sqlite_url(path)) == [1, 2, 3, 4]


async def test_openings_at_once_in_one_process_make_one_database(path: Path) -> None:
    databases = await asyncio.gather(*(open_database(sqlite_url(path)) for _ in range(6)))
    for database in databases:
        await database.check()
        await database.close()


# ── In service ────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_what_is_committed_is_on_disk_and_readers_do_not_wait_for_writers(database: Database) -> None:
    async with database.writing() as writer, database.reading() as reader:
        assert await writer.scalar(text("PRAGMA journal_mode")) == "wal"
        assert await writer.scalar(text("PRAGMA synchronous")) == 2  # FULL: synced at every commit
        assert await writer.scalar(text("PRAGMA foreign_keys")) == 1
        await writer.execute(text("INSERT INTO fleet (id, incarnation) VALUES ('fleet', 7)"))
        assert await reader.scalar(text("SELECT count(*) FROM fleet")) == 0
    assert await SqlFleetRegister(database).incarnation("fleet") == 7


async def test_an_error_within_a_transaction_undoes_it(database: Database) -> None:
    async def fail_after_writing() -> None:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO fleet (id, incarnation) VALUES ('fleet', 7)"))
            raise LookupError

    with pytest.raises(LookupError):
        await fail_after_writing()
    assert await SqlFleetRegister(database).raise_incarnation("fleet") == 1


async def test_a_busy_database_is_unavailable_after_a_bounded_wait_and_then_serves_again(path: Path) -> None:
    database = await open_database(sqlite_url(path), busy_wait_seconds=0.1)
    register = SqlFleetRegister(database)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable) as refused:
        await register.raise_incarnation("fleet")
    assert refused.value.retry_after_seconds is not None
    assert await register.incarnation("fleet") == 0
    holder.execute("ROLLBACK")
    holder.close()
    assert await register.raise_incarnation("fleet") == 1
    await database.close()


async def test_callers_behind_a_busy_writer_do_not_wait_for_each_other_without_end(path: Path) -> None:
    database = await open_database(sqlite_url(path), busy_wait_seconds=0.5, connection_wait_seconds=1.0)
    register = SqlFleetRegister(database)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started_at = time.monotonic()
    attempts = [register.raise_incarnation("fleet") for _ in range(50)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    # One after the other they would wait for 25 s.
    assert time.monotonic() - started_at < 10
    assert [type(outcome) for outcome in outcomes] == [Unavailable] * 50
    holder.close()
    assert await register.raise_incarnation("fleet") == 1
    await database.close()


async def test_callers_who_give_up_anywhere_leave_nothing_locked_and_no_connection_open(path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    database = await open_database(sqlite_url(path))
    directory, history, register = (
        SqlSessionDirectory(database),
        SqlTermHistory(database, "f"),
        SqlFleetRegister(database),
    )
    calls: Sequence[Callable[[], Coroutine[Any, Any, object]]] = (
        lambda: directory.bearing(TENANT, RefKind.EXTERNAL_ID, "x", "ann", 5),
        lambda: SqlIdempotencyKeys(database).forget(datetime.now(UTC), 10),
        lambda: history.sweep(1, 10),
        lambda: register.raise_incarnation("f"),
    )
    chance = random.Random(0)
    for _ in range(20):
        tasks = [asyncio.create_task(call()) for call in calls for _ in range(10)]
        for task in tasks:
            asyncio.get_running_loop().call_later(0.02 * chance.random(), task.cancel)
        await asyncio.wait(tasks)
    assert await register.raise_incarnation("f") > 0
    with contextlib.closing(sqlite3.connect(path)) as other:
        # Whoever still read would keep the log from being carried over, for as long as it did.
        assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    await database.close()
    assert len(os.listdir("/dev/fd")) == before


async def test_a_closed_database_is_unavailable_and_may_be_closed_again(path: Path) -> None:
    database = await open_database(sqlite_url(path))
    await database.check()
    await database.close()
    await database.close()
    for use in (database.check(), SqlFleetRegister(database).raise_incarnation("fleet")):
        with pytest.raises(Unavailable):
            await use


async def test_a_database_destroyed_after_its_opening_is_unavailable(database: Database, path: Path) -> None:
    overwrite(path, b"garbage" * 10_000)
    with pytest.raises(Unavailable):
        await database.check()
    with pytest.raises(Unavailable):
        await SqlFleetRegister(database).raise_incarnation("fleet")


async def test_a_wrong_statement_is_a_bug_and_not_a_database_that_does_not_answer(database: Database) -> None:
    with pytest.raises(OperationalError):
        async with database.reading() as connection:
            await connection.execute(text("SELECT * FROM no_such_table"))


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("SELECT * FROM session WHERE tenant_id = ? AND is_main = 1", "uq_session_tenant_id_main (tenant_id=?)"),
        (
            "SELECT * FROM session_event WHERE relayed_at IS NULL ORDER BY position LIMIT 100",
            "ix_session_event_unrelayed",
        ),
    ],
)
async def test_lists_are_read_from_their_index_without_sorting(
    database: Database, path: Path, statement: str, index: str
) -> None:
    connection = sqlite3.connect(path)
    parameters = [""] * statement.count("?")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    connection.close()
    assert len(plan) == 1
    assert plan[0].endswith(f"USING INDEX {index}")


@pytest.mark.parametrize(
    "nobody", [FileNotFoundError(2, "No such file or directory"), ConnectionRefusedError(111, "x")]
)
def test_a_database_that_nobody_serves_is_told_as_that_and_not_as_a_missing_file(nobody: OSError) -> None:
    with pytest.raises(Unavailable) as told, told_to_callers():
        raise nobody
    assert told.value.message == "the database does not answer: nobody listens there"
