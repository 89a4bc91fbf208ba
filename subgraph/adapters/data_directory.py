"""Owns the data directory: who may use it, one process at a time, and where things lie in it."""

import fcntl
import json
import os
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

LOCK_NAME = "lock"
DATABASE_NAME = "session-manager.sqlite3"
VALKEY_NAME = "valkey"
PRIVATE_MODE = 0o700
LOCK_MODE = 0o600
LOCK_BYTES_MAX = 4_096
"""Most of a lock file that is read: it is ours, unless somebody put another in its place."""


class DataDirectoryUnusable(Exception):
    """The data directory cannot be used; the message is one line that says why."""


class DataDirectoryHeld(DataDirectoryUnusable):
    """Another live process uses the data directory. What it has not told yet is None."""

    def __init__(self, path: Path, pid: int | None, since: datetime | None, url: str | None) -> None:
        holder = "another process" if pid is None else f"process {pid}"
        started = "" if since is None else f" since {since.isoformat(sep=' ', timespec='seconds')}"
        serving = "" if url is None else f", serving {url}"
        super().__init__(f"data directory {path} is in use by {holder}{started}{serving}")
        self.path = path
        self.pid = pid
        self.since = since
        self.url = url


class DataDirectory:
    """A directory that belongs to this process from `acquire` to `release`, or until it dies, however it dies."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path).absolute()
        self._lock: int | None = None
        self._since = datetime.now(UTC)

    @property
    def database_path(self) -> Path:
        """The SQLite database."""
        return self.path / DATABASE_NAME

    @property
    def valkey_directory(self) -> Path:
        """Where the embedded Valkey keeps its append-only file, its log and its socket."""
        return self.path / VALKEY_NAME

    def acquire(self) -> None:
        """Take the directory for this process, and create it, open to its user alone, where it is missing.

        Raises:
            DataDirectoryHeld: another live process has it.
            DataDirectoryUnusable: it is no directory, belongs to another user or cannot be written.
        """
        if self._lock is not None:
            return
        self._prepare()
        try:
            lock = os.open(self.path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, LOCK_MODE)
        except OSError as error:
            raise DataDirectoryUnusable(f"data directory {self.path} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _read_holder(lock)
            os.close(lock)
            raise DataDirectoryHeld(self.path, *holder) from None
        except OSError as error:
            os.close(lock)
            raise DataDirectoryUnusable(f"data directory {self.path} cannot be locked: {error.strerror}") from error
        self._lock = lock
        self._since = datetime.now(UTC)
        try:
            self._write(None)
        except OSError as error:
            self.release()
            raise DataDirectoryUnusable(f"data directory {self.path} cannot be written: {error.strerror}") from error

    def describe(self, url: str) -> None:
        """Tell whoever finds the directory held where this process serves.

        Raises:
            DataDirectoryUnusable: this process does not have it.
        """
        if self._lock is None:
            raise DataDirectoryUnusable(f"data directory {self.path} has not been acquired")
        self._write(url)

    def release(self) -> None:
        """Give the directory back. A second time does nothing."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        # The file stays: were it unlinked, one process could lock the old file and another the new one.
        os.ftruncate(lock, 0)
        # Closing alone would leave the lock with a child that this process is just starting, until it has closed too.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)

    def _prepare(self) -> None:
        try:
            self.path.mkdir(mode=PRIVATE_MODE, parents=True)
        except FileExistsError:
            if not self.path.is_dir():
                raise DataDirectoryUnusable(f"data directory {self.path} is not a directory") from None
        except OSError as error:
            raise DataDirectoryUnusable(f"data directory {self.path} cannot be created: {error.strerror}") from error
        owner = self.path.stat().st_uid
        if owner != os.geteuid():
            raise DataDirectoryUnusable(
                f"data directory {self.path} belongs to user {owner}, and this process runs as user {os.geteuid()}"
            )

    def _write(self, url: str | None) -> None:
        assert self._lock is not None
        holder = {"pid": os.getpid(), "since": self._since.isoformat(), "host": socket.gethostname(), "url": url}
        text = (json.dumps(holder) + "\n").encode()
        os.pwrite(self._lock, text, 0)
        os.ftruncate(self._lock, len(text))


def _read_holder(lock: int) -> tuple[int | None, datetime | None, str | None]:
    """Process id, start and URL of the holder, as far as it has written them yet."""
    try:
        holder = json.loads(os.pread(lock, LOCK_BYTES_MAX, 0))
    except ValueError:
        return None, None, None
    if not isinstance(holder, Mapping):
        return None, None, None
    pid, since, url = holder.get("pid"), holder.get("since"), holder.get("url")
    try:
        started = datetime.fromisoformat(since) if isinstance(since, str) else None
    except ValueError:
        started = None
    return pid if isinstance(pid, int) else None, started, url if isinstance(url, str) else None
