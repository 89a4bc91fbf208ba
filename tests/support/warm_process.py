"""Owns running the command `session-manager` without importing it anew: a process that has all of it forks (Linux).

Importing takes longer than most tests of a server. What runs is the same command, in a process of its own.
"""

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread

from subgraph.cli import main

IMPORTED = ["subgraph.serve", "alembic.command", "uvloop", "tests.support.warm_process"]
"""What the process that forks has imported. Whatever is missing is imported later."""

_forking = multiprocessing.get_context("forkserver")
_forking.set_forkserver_preload(IMPORTED)


class WarmProcess:
    """A running `session-manager`, held like a `subprocess.Popen`. It ends with the process that started it."""

    def __init__(self, arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        what = (list(arguments), log, dict(environment))
        self._process = _forking.Process(target=_run, args=what, daemon=True)
        self._process.start()

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


def _run(arguments: list[str], log: Path, environment: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    with log.open("ab") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    Thread(target=_end_with_parent, daemon=True).start()
    main(arguments, prog_name="session-manager")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)
