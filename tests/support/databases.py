"""The databases that the contract tests of the SQL adapters run on, each fresh and of the test's own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from subgraph.adapters.sql.database import sqlite_url


def sqlite_file(directory: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return sqlite_url(directory / "sessions.sqlite3")


DATABASES: list[Callable[[Path], str]] = [sqlite_file]
"""One entry per kind of database; a kind that joins is held to every promise of the suites."""


def python_process(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs the program; its output is text, its failures are seen by whoever waits for it."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
