"""Owns which databases this version accepts, and how messages refer to them."""

from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from subgraph.adapters.sql.failures import DatabaseUnusable

SQLITE_DRIVER = "sqlite+aiosqlite"
POSTGRES_DRIVER = "postgresql+asyncpg"
_SQLITE = ("sqlite", SQLITE_DRIVER)
_POSTGRES = ("postgresql", "postgres", POSTGRES_DRIVER)
_SQLITE_EXAMPLE = "sqlite:///path/to/sessions.db"
_POSTGRES_EXAMPLE = "postgresql://user:password@host/database"
_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


def sqlite_url(path: Path | str) -> str:
    """The URL of a SQLite file; every character of the path is kept, whatever it would mean in a URL."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def database_url(text: str) -> URL:
    """The URL of a database this version can use, with the driver that it uses.

    SQLite: the absolute path of a file. PostgreSQL: a host, or the directory of a socket as `?host=`; `?sslmode=` as
    libpq takes it.

    Raises:
        DatabaseUnusable: it names something else.
    """
    try:
        parsed = make_url(text)
    except (ArgumentError, ValueError) as error:
        # The text is not repeated: what does not parse cannot be masked.
        raise DatabaseUnusable(
            f"the database URL cannot be read: write it as {_SQLITE_EXAMPLE} or {_POSTGRES_EXAMPLE}"
        ) from error
    if parsed.drivername in _SQLITE:
        return _sqlite(parsed)
    if parsed.drivername in _POSTGRES:
        return _postgres(parsed)
    raise DatabaseUnusable(
        f"the database {masked(parsed)} cannot be used: this version keeps its data in SQLite or PostgreSQL, as in "
        f"{_SQLITE_EXAMPLE} or {_POSTGRES_EXAMPLE}"
    )


def masked(url: URL) -> str:
    """The URL as messages show it: as operators write it, without our driver, and without secrets."""
    name = {SQLITE_DRIVER: "sqlite", POSTGRES_DRIVER: "postgresql"}.get(url.drivername, url.drivername)
    # Options may hold a password too, so none is shown.
    return url.set(drivername=name, query={}).render_as_string(hide_password=True)


def _sqlite(parsed: URL) -> URL:
    if parsed.host or parsed.username or parsed.password or parsed.port:
        raise DatabaseUnusable(
            f"the database {masked(parsed)} cannot be used: a SQLite URL names no host; write three slashes before "
            f"a relative path and four before an absolute one, as in {_SQLITE_EXAMPLE}"
        )
    if parsed.query:
        raise DatabaseUnusable(f"the database {masked(parsed)} cannot be used: its URL takes no options after '?'")
    if not parsed.database or parsed.database == ":memory:":
        raise DatabaseUnusable(f"a database in memory would forget every session: name a file, as in {_SQLITE_EXAMPLE}")
    return URL.create(SQLITE_DRIVER, database=str(Path(parsed.database).absolute()))


def _postgres(parsed: URL) -> URL:
    options = dict(parsed.query)
    host, mode = options.pop("host", None), options.pop("sslmode", None)
    if options:
        raise DatabaseUnusable(
            f"the database {masked(parsed)} cannot be used: its URL takes no options but host and sslmode after '?'"
        )
    if mode is not None and mode not in _SSL_MODES:
        raise DatabaseUnusable(
            f"the database {masked(parsed)} cannot be used: its sslmode must be one of {', '.join(_SSL_MODES)}"
        )
    if not parsed.database or not (parsed.host or isinstance(host, str)):
        raise DatabaseUnusable(
            f"the database {masked(parsed)} cannot be used: name a host and a database, as in {_POSTGRES_EXAMPLE}"
        )
    # The driver's own name for the option.
    given = {"host": host, "ssl": mode}
    query = {name: value for name, value in given.items() if value is not None}
    return parsed.set(drivername=POSTGRES_DRIVER, query=query)
