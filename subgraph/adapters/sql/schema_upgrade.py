"""Owns what happens before a database is used: it is checked, and brought to this version's schema or refused.

All steps of an upgrade are one transaction. Processes that start at once take turns: one upgrades, others look again.
"""

import asyncio
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import URL, Column, Connection, MetaData, PrimaryKeyConstraint, String, Table, insert, inspect, text
from sqlalchemy.exc import DBAPIError

from subgraph.adapters.sql.failures import DatabaseTooNew, DatabaseTooOld, DatabaseUnusable, one_line
from subgraph.adapters.sql.postgres_connections import postgres_engine
from subgraph.adapters.sql.sqlite_file import upgrade_sqlite_file
from subgraph.adapters.sql.tables import METADATA
from subgraph.adapters.sql.urls import SQLITE_DRIVER, masked

HEAD_REVISION = "0011_journal_retention"
"""The newest migration. A test compares it with the folder, so that opening a current database needs no Alembic."""

_VERSION = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)
"""Where Alembic notes the revision."""

UPGRADE_SECONDS_MAX = 600.0
"""How long one statement of an upgrade may take, and how long a process waits for the upgrade of another."""
UPGRADE_LOCK = int.from_bytes(b"upgrade")
"""The number of PostgreSQL's advisory lock that whoever upgrades holds."""


@dataclass(frozen=True, slots=True)
class SchemaStep:
    """What was done to a database's schema; `before` is None if it was empty."""

    database: str
    before: str | None
    after: str


async def prepare_schema(place: URL, busy_wait_seconds: float, *, may_upgrade: bool) -> SchemaStep:
    """Make sure that the database is this project's, at this version's revision.

    Raises:
        DatabaseTooNew: its revision is not one of ours.
        DatabaseTooOld: it is empty or at an older revision, and `may_upgrade` is off.
        DatabaseUnusable: it cannot be opened or written, is not a database, or is somebody else's.
    """
    if place.drivername == SQLITE_DRIVER:
        path = Path(place.database or "")
        upgrade = partial(_bring_to_head, name=str(path), may_upgrade=may_upgrade)
        # In a thread: a migration, and even the wait for another process's, would stop the event loop.
        return await asyncio.to_thread(upgrade_sqlite_file, path, busy_wait_seconds, upgrade)
    return await _prepare_postgres(place, busy_wait_seconds, may_upgrade)


async def _prepare_postgres(place: URL, busy_wait_seconds: float, may_upgrade: bool) -> SchemaStep:
    engine = postgres_engine(
        place,
        UPGRADE_SECONDS_MAX,
        busy_wait_seconds,
        connections_max=1,
        isolation_level="READ COMMITTED",
        statement_seconds_max=UPGRADE_SECONDS_MAX,
    )
    upgrade = partial(_bring_to_head, name=masked(place), may_upgrade=may_upgrade)
    try:
        async with engine.begin() as connection:
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({UPGRADE_LOCK})"))
            # What would wait for the locks of those who work on holds up everybody behind it.
            await connection.execute(text(f"SET LOCAL lock_timeout = {round(busy_wait_seconds * 1_000)}"))
            return await connection.run_sync(upgrade)
    except (OSError, DBAPIError) as error:
        why = one_line(error) if isinstance(error, DBAPIError) else error.strerror or str(error) or "no answer in time"
        raise DatabaseUnusable(f"the database {masked(place)} cannot be used: {why}") from error
    finally:
        await engine.dispose()


def _bring_to_head(connection: Connection, name: str, may_upgrade: bool) -> SchemaStep:
    names = set(inspect(connection).get_table_names())
    if "alembic_version" not in names:
        # A file belongs to one program; a PostgreSQL database may hold the tables of others beside ours.
        if names if connection.dialect.name == "sqlite" else names & METADATA.tables.keys():
            raise DatabaseUnusable(f"the database {name} cannot be used: it holds something else's tables")
        before = None
    else:
        revisions = set(connection.scalars(text("SELECT version_num FROM alembic_version")))
        before = ", ".join(sorted(revisions)) or None
        if revisions == {HEAD_REVISION}:
            return SchemaStep(name, HEAD_REVISION, HEAD_REVISION)
        if not revisions <= _known_revisions():
            raise DatabaseTooNew(
                f"the database {name} is at revision {before}, which this version does not know "
                f"(its newest is {HEAD_REVISION}): run the version that wrote it, or a newer one"
            )
    if not may_upgrade:
        raise DatabaseTooOld(
            f"the database {name} is {f'at revision {before}' if before else 'empty'}, and this version needs "
            f"{HEAD_REVISION}: run `session-manager migrate`"
        )
    if before is None:
        _create(connection)
    else:
        _upgrade(connection)
    return SchemaStep(name, before, HEAD_REVISION)


def _create(connection: Connection) -> None:
    """Make what all migrations would make of an empty database; a test compares the two."""
    METADATA.create_all(connection)
    if not inspect(connection).has_table(_VERSION.name):
        _VERSION.create(connection)
    connection.execute(insert(_VERSION).values(version_num=HEAD_REVISION))


# Alembic takes longer to import than a current database takes to open, hence the imports within functions.


def _known_revisions() -> set[str]:
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(_migrations()))
    return {script.revision for script in scripts.walk_revisions()}


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    # A percent sign starts an interpolation in Alembic's options.
    config.set_main_option("script_location", str(_migrations()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    command.upgrade(config, "head")


def _migrations() -> Path:
    return Path(__file__).parent / "migrations"
