"""Owns running the command `session-manager` without importing it anew: a process that has all of it forks (Linux).

Importing takes longer than most tests of a server. What runs is the same command, in a process of its own.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Thread
from typing import Any

from subgraph.cli import main

COMMAND_SECONDS_MAX = 120
IMPORTED = [
    "subgraph.serve",
    "subgraph.migrate",
    "alembic.command",
    "subgraph.adapters.sql.idempotency_keys",
    "uvloop",
    "tests.support.warm_process",
]
"""What the process that forks has imported. Whatever is missing is imported later."""

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(IMPORTED)


class WarmProcess:
    """A running `session-manager`, held like a `subprocess.Popen`. It ends with the process that started it.

    It has a process group of its own, as whatever a terminal starts.
    """

    def __init__(
        self, arguments: Sequence[str], log: Path, environment: Mapping[str, str], errors: Path | None = None
    ) -> None:
        self._process = started(_run_command, list(arguments), log, errors or log, dict(environment))

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        """How it ended, if it has."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """How it ended.

        Raises:
            TimeoutExpired: it did not, in so many seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("session-manager", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def run_command(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run `session-manager` to its end."""
    environ = {**os.environ, **environment}
    if sys.platform != "linux":
        return run_in_new_interpreter(*arguments, **environment)
    with tempfile.TemporaryDirectory() as made:
        output, errors = Path(made, "output"), Path(made, "errors")
        process = WarmProcess(arguments, output, environ, errors)
        try:
            code = process.wait(COMMAND_SECONDS_MAX)
        finally:
            process.kill()
        return subprocess.CompletedProcess(arguments, code, output.read_text(), errors.read_text())


def run_in_new_interpreter(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """The same as a user does: for what depends on how it is started."""
    command = [sys.executable, "-m", "subgraph", *arguments]
    environ = {**os.environ, **environment}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX, env=environ, check=False
    )


def started(work: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """A process that does some work, which forks from the warm one."""
    # Whatever of them still runs when this process ends is ended first.
    process = _forking.Process(target=work, args=arguments, daemon=True)
    process.start()
    return process


def end_with_parent() -> None:
    """Have this process end with the one that started it."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGKILL)

    Thread(target=follow, daemon=True).start()


def _run_command(arguments: list[str], log: Path, errors: Path, environment: dict[str, str]) -> None:
    os.setsid()
    multiprocessing.current_process().daemon = False  # which may have workers
    # Who runs the tests in the background may have had them ignore it, and so would those they start.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.environ.clear()
    os.environ.update(environment)
    for path, mode, number in ((os.devnull, "rb", 0), (log, "ab", 1), (errors, "ab", 2)):
        with open(path, mode) as stream:
            os.dup2(stream.fileno(), number)
    # The former is closed in every process that `multiprocessing` has begun; workers are told the number of this one.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    end_with_parent()
    main(arguments, prog_name="session-manager")
