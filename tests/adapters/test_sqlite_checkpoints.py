"""SQLite's log: carried into the file soon, beside those who write; by a commit only if it grows beyond its bound."""

from pathlib import Path

import pytest
from sqlalchemy import text

from subgraph.adapters.sql import sqlite_checkpoints, sqlite_connections
from subgraph.adapters.sql.database import open_database, sqlite_url
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

LONG_BYTES = 6_000_000
"""More than the thousand pages from which on SQLite would by itself have a commit carry them over."""
NEVER_SECONDS = 3_600.0


def sizes(directory: Path) -> dict[str, int]:
    return {each.name: each.stat().st_size for each in directory.iterdir()}


async def written(path: Path) -> int:
    """The size of the file itself after a long change and a short one, while the database is open."""
    database = await open_database(sqlite_url(path))
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE big (content BLOB)"))
        await connection.execute(text(f"INSERT INTO big VALUES (zeroblob({LONG_BYTES}))"))
    await database.write(lambda connection: connection.execute(text("INSERT INTO big VALUES ('short')")).rowcount)
    size = sizes(path.parent)[path.name]
    await database.close()
    return size


async def test_a_commit_leaves_a_long_log_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "CHECKPOINT_SECONDS", NEVER_SECONDS)
    assert await written(tmp_path / "a.sqlite3") < LONG_BYTES


async def test_a_log_beyond_its_bound_is_carried_over_by_the_commit_that_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "CHECKPOINT_SECONDS", NEVER_SECONDS)
    monkeypatch.setattr(sqlite_connections, "LOG_PAGES_MAX", 1_000)
    assert await written(tmp_path / "a.sqlite3") > LONG_BYTES


async def test_what_was_committed_is_carried_over_soon_by_whichever_way_it_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "CHECKPOINT_SECONDS", 0.01)
    path = tmp_path / "a.sqlite3"
    database = await open_database(sqlite_url(path))
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE note (content TEXT)"))
        await connection.execute(text("INSERT INTO note VALUES ('on its own')"))
    await eventually(lambda: b"on its own" in path.read_bytes(), "it is in the file itself")
    await database.write(lambda it: it.execute(text("INSERT INTO note VALUES ('with others')")).rowcount)
    await eventually(lambda: b"with others" in path.read_bytes(), "it is in the file itself")
    await database.close()


async def test_closing_waits_for_no_checkpoint_and_leaves_a_whole_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_checkpoints, "CHECKPOINT_SECONDS", NEVER_SECONDS)
    await written(tmp_path / "a.sqlite3")
    (whole,) = sizes(tmp_path).items()
    assert whole > ("a.sqlite3", LONG_BYTES)
