"""Owns how a database's failures are told: at start as one line, in service as Unavailable."""

from collections.abc import Iterator
from contextlib import contextmanager
from sqlite3 import SQLITE_ERROR

from sqlalchemy.exc import DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from subgraph.domain.errors import InvalidInput, Unavailable

RETRY_AFTER_SECONDS = 1.0


class DatabaseUnusable(Exception):
    """The database cannot be opened: one line that says which and why."""


class DatabaseTooNew(DatabaseUnusable):
    """The database was written by a newer version of this software: one line with its revision and ours."""


@contextmanager
def told_to_callers() -> Iterator[None]:
    """Tell of a database that does not answer, or stays busy, as Unavailable; other errors are bugs and pass.

    Text that is not Unicode (JSON can smuggle in half a surrogate pair) is InvalidInput: no database can keep it.
    """
    try:
        yield
    except UnicodeEncodeError as error:
        raise InvalidInput("a text holds half a surrogate pair, which is no character") from error
    except PoolTimeoutError as error:
        raise Unavailable("the database is busy: no connection became free in time", RETRY_AFTER_SECONDS) from error
    except DBAPIError as error:
        if isinstance(error, (IntegrityError, ProgrammingError)) or _is_wrong_statement(error):
            raise
        raise Unavailable(f"the database does not answer: {error.orig}", RETRY_AFTER_SECONDS) from error


def _is_wrong_statement(error: DBAPIError) -> bool:
    # SQLite has a code of its own for everything that may happen to a right one.
    return getattr(error.orig, "sqlite_errorcode", None) == SQLITE_ERROR
