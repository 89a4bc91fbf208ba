"""Owns the mapping of database failures: at start to one line, in service to Unavailable."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from subgraph.domain.errors import InvalidInput, Unavailable

RETRY_AFTER_SECONDS = 1.0

# SQLSTATE, PostgreSQL: https://www.postgresql.org/docs/current/errcodes-appendix.html
_LOST_RACES = ("40001", "40P01")
"""Serialisation failure, deadlock: the transaction was undone, and may do better the next time."""
_DUPLICATE = "23505"
_NOT_TEXT = "22021"
"""A text that the database's encoding cannot hold: of Unicode, that is the character NUL."""
_NOT_NOW = ("08", "25", "28", "3D", "40", "53", "55", "57", "58", "XX")
"""Classes of what may happen to a right statement: no connection, no resources, locks, a shutdown, a standby, …"""


class DatabaseUnusable(Exception):
    """The database cannot be opened: one line that says which and why."""


class DatabaseTooNew(DatabaseUnusable):
    """The database was written by a newer version of this software: one line with its revision and ours."""


class DatabaseTooOld(DatabaseUnusable):
    """The database is at an older revision, and whoever opens it may not upgrade it: one line with both revisions."""


@contextmanager
def told_to_callers() -> Iterator[None]:
    """Tell of a database that does not answer, or stays busy, as Unavailable; other errors are bugs and pass.

    Text that a database cannot keep is InvalidInput: half a surrogate pair, which JSON can smuggle in, or a NUL.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise _not_unicode() from error
    except PoolTimeoutError as error:
        raise Unavailable("the database is busy: no connection became free in time", RETRY_AFTER_SECONDS) from error
    except OSError as error:
        # A driver that cannot connect, or waits in vain for an answer, says so in Python's own way.
        is_there_nobody = isinstance(error, FileNotFoundError | ConnectionRefusedError)
        reason = "nobody listens there" if is_there_nobody else error.strerror or str(error) or "no answer in time"
        raise Unavailable(f"the database does not answer: {reason}", RETRY_AFTER_SECONDS) from error
    except DBAPIError as error:
        if sqlstate(error) == _NOT_TEXT:
            raise InvalidInput("a text holds the character NUL, which no database keeps") from error
        if _is_not_unicode(error):
            raise _not_unicode() from error
        if isinstance(error, (IntegrityError, ProgrammingError)) or _is_wrong_statement(error):
            raise
        raise Unavailable(f"the database does not answer: {one_line(error)}", RETRY_AFTER_SECONDS) from error


def is_lost_race(error: BaseException) -> bool:
    """Whether the transaction was undone for the sake of another one, so that it is worth trying again."""
    return isinstance(error, DBAPIError) and sqlstate(error) in _LOST_RACES


def is_duplicate(error: IntegrityError) -> bool:
    """Whether a unique index refused a row, and not, say, a column that must not be empty."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return sqlstate(error) == _DUPLICATE or code in (
        sqlite3.SQLITE_CONSTRAINT_UNIQUE,
        sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY,
    )


def sqlstate(error: DBAPIError) -> str | None:
    """PostgreSQL's code of the failure; None for SQLite, and for what went wrong before the server."""
    code = getattr(error.orig, "sqlstate", None)
    return code if isinstance(code, str) else None


def one_line(error: DBAPIError) -> str:
    """What the database said, on one line."""
    said = str(error.orig).strip() or type(error.orig).__name__
    return said.splitlines()[0]


def _is_wrong_statement(error: DBAPIError) -> bool:
    if isinstance(error.orig, sqlite3.Error):
        # SQLite has a code of its own for everything that may happen to a right one.
        return error.orig.sqlite_errorcode == sqlite3.SQLITE_ERROR
    if (code := sqlstate(error)) is not None:
        return not code.startswith(_NOT_NOW)
    return not error.connection_invalidated and hasattr(error.orig, "pgcode")


def _is_not_unicode(error: DBAPIError) -> bool:
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, UnicodeEncodeError):
        cause = cause.__cause__
    return cause is not None


def _not_unicode() -> InvalidInput:
    return InvalidInput("a text holds half a surrogate pair, which is no character")
