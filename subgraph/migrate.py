"""Owns `session-manager migrate`: it upgrades the database's schema without starting a server."""

import asyncio
import contextlib

from subgraph.adapters.data_directory import DataDirectory, DataDirectoryUnusable
from subgraph.adapters.sql.database import DatabaseUnusable, migrate_database, sqlite_url
from subgraph.settings import Settings
from subgraph.settings.texts import variable


class CannotMigrate(Exception):
    """Why the database was left as it is: one line."""


def migrate(settings: Settings) -> str:
    """Bring the database to this version's schema, and say what was done in one line.

    Raises:
        CannotMigrate: the database cannot be used, or a server holds its data directory.
    """
    with contextlib.ExitStack() as cleanups:
        try:
            url = settings.database_url
            if url is None:
                directory = DataDirectory(settings.data_dir)
                directory.acquire()
                cleanups.callback(directory.release)
                url = sqlite_url(directory.database_path)
            step = asyncio.run(migrate_database(url))
        except DataDirectoryUnusable as error:
            raise CannotMigrate(str(error)) from error
        except DatabaseUnusable as error:
            where = "" if settings.database_url is None else f"{variable('database_url')}: "
            raise CannotMigrate(f"{where}{error}") from error
    if step.before == step.after:
        return f"{step.database} is at {step.after} already."
    return f"{step.database}: {step.before or 'empty'} → {step.after}"
