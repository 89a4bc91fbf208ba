"""Owns what a SQLite file needs before it is used: a directory, its upgrade under the write lock, and WAL mode."""

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import URL, Connection, NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from subgraph.adapters.sql.failures import DatabaseUnusable

_WAL_RETRY_SECONDS = 0.02

T = TypeVar("T")


def upgrade_sqlite_file(path: Path, busy_wait_seconds: float, upgrade: Callable[[Connection], T]) -> T:
    """Run the upgrade in a transaction on the file, which is made if it is not there, and set it to WAL.

    Processes that start at once on the same file take turns. Blocks; call it in a thread.

    Raises:
        DatabaseUnusable: it cannot be opened or written, or is not a database; or as `upgrade` says.
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
            done = upgrade(connection)
            connection.commit()
        with engine.connect() as connection:
            _set_wal(connection, time.monotonic() + busy_wait_seconds)
    except DBAPIError as error:
        raise DatabaseUnusable(f"the database {path} cannot be used: {error.orig}") from error
    finally:
        engine.dispose()
    return done


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
