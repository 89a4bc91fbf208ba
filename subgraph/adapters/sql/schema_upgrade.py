"""Owns what happens before a SQLite file is used: it is checked, brought to this version's schema and set to WAL."""

import sqlite3
import time
from pathlib import Path

from sqlalchemy import URL, Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from subgraph.adapters.sql.failures import DatabaseTooNew, DatabaseUnusable

HEAD_REVISION = "0006_session_lifetime"
"""The newest migration. A test compares it with the folder, so that opening a current database needs no Alembic."""

_WAL_RETRY_SECONDS = 0.02


def prepare_sqlite_file(path: Path, busy_wait_seconds: float) -> None:
    """Make sure that the file is this project's database at this version's revision, writable, and in WAL mode.

    Processes that start at once on the same file take turns. Blocks; call it in a thread.

    Raises:
        DatabaseTooNew: the file's revision is not one of ours.
        DatabaseUnusable: it cannot be opened or written, is not a database, or is somebody else's.
    """
    if not path.parent.is_dir():
        raise DatabaseUnusable(f"the database {path} cannot be used: there is no directory {path.parent}")
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        poolclass=NullPool,
        # No implicit BEGIN: the transaction below starts by taking the write lock.
        connect_args={"isolation_level": None, "timeout": busy_wait_seconds},
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _bring_to_head(connection, path)
            connection.commit()
        with engine.connect() as connection:
            _set_wal(connection, time.monotonic() + busy_wait_seconds)
    except DBAPIError as error:
        raise DatabaseUnusable(f"the database {path} cannot be used: {error.orig}") from error
    finally:
        engine.dispose()


def _bring_to_head(connection: Connection, path: Path) -> None:
    names = {row.name for row in connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if "alembic_version" not in names:
        if names:
            raise DatabaseUnusable(f"the database {path} cannot be used: it holds something else's tables")
        _upgrade(connection)
        return
    revisions = {row.version_num for row in connection.exec_driver_sql("SELECT version_num FROM alembic_version")}
    if revisions == {HEAD_REVISION}:
        return
    if not revisions <= _known_revisions():
        raise DatabaseTooNew(
            f"the database {path} is at revision {', '.join(sorted(revisions))}, which this version does not know "
            f"(its newest is {HEAD_REVISION}): run the version that wrote it, or a newer one"
        )
    _upgrade(connection)


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


def _set_wal(connection: Connection, give_up_at: float) -> None:
    # The mode is kept in the file, so this changes it once; SQLite may refuse at once while another process starts.
    while True:
        try:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            return
        except DBAPIError as error:
            code = error.orig.sqlite_errorcode & 0xFF if isinstance(error.orig, sqlite3.Error) else None
            if code != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                raise
        time.sleep(_WAL_RETRY_SECONDS)
