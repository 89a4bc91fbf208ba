"""Owns which databases this version accepts, and how one is named in a message."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from subgraph.adapters.sql.failures import DatabaseUnusable

SQLITE_DRIVER = "sqlite+aiosqlite"
_EXAMPLE = "sqlite:///path/to/sessions.db"


def sqlite_url(path: Path | str) -> str:
    """The URL of a SQLite file; every character of the path is kept, whatever it would mean in a URL."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def sqlite_path(url: str) -> Path:
    """The absolute path of the SQLite file that a URL names.

    Raises:
        DatabaseUnusable: it names something else.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        # The text is not repeated: what does not parse cannot be masked.
        raise DatabaseUnusable(f"the database URL cannot be read: write it as {_EXAMPLE}") from error
    if parsed.drivername not in ("sqlite", SQLITE_DRIVER):
        raise DatabaseUnusable(
            f"the database {_masked(parsed)} cannot be used: this version keeps its data in SQLite, as in {_EXAMPLE}"
        )
    if parsed.host or parsed.username or parsed.password or parsed.port:
        raise DatabaseUnusable(
            f"the database {_masked(parsed)} cannot be used: a SQLite URL names no host; write three slashes before "
            f"a relative path and four before an absolute one, as in {_EXAMPLE}"
        )
    if parsed.query:
        raise DatabaseUnusable(f"the database {_masked(parsed)} cannot be used: its URL takes no options after '?'")
    if not parsed.database or parsed.database == ":memory:":
        raise DatabaseUnusable(f"a database in memory would forget every session: name a file, as in {_EXAMPLE}")
    return Path(parsed.database).absolute()


def _masked(url: URL) -> str:
    # Options may hold a password too, so none is shown.
    return url.set(query={}).render_as_string(hide_password=True)
