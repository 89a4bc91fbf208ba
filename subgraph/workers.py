"""Owns the server processes of `--workers`: readiness, replacement of dead ones, and orderly shutdown."""

import signal
import socket
import time
from collections.abc import Callable
from multiprocessing import resource_tracker

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from subgraph.stop_signals import hear_stop_signals

SILENT_SECONDS_MAX = 30.0
"""A worker that is silent for longer is replaced; on a busy machine starting up alone can take several seconds."""
ANSWER_SECONDS = 0.1
"""How long an answer is waited for at a time: meanwhile no signal is heard."""


class Workers(Multiprocess):
    """uvicorn's processes, which say when the first of them serves, and hear at once that they are to end."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket, announce: Callable[[], None]) -> None:
        super().__init__(config, [listener])
        # uvicorn would start anew when a terminal is closed.
        hear_stop_signals(lambda *_: self.should_exit.set())
        self._announce = announce
        self._is_announced = False
        self._heard_at: dict[Process, float] = {}

    def init_processes(self) -> None:
        """Start them."""
        self.processes = [self._started() for _ in range(self.processes_num)]

    def keep_subprocess_alive(self) -> None:
        """Replace those that have died, or are silent for too long; tell when the first one serves."""
        for place, worker in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if worker.process.is_alive() and self._is_well(worker):
                continue
            worker.kill()
            worker.join()
            del self._heard_at[worker]
            if worker.exitcode == STARTUP_FAILURE:
                # It has said why; another one would fail alike.
                self.should_exit.set()
                return
            self.processes[place] = self._started()

    def _is_well(self, worker: Process) -> bool:
        now = time.monotonic()
        if worker.ping(ANSWER_SECONDS):
            self._heard_at[worker] = now
            if not self._is_announced and worker.is_ready(ANSWER_SECONDS):
                self._is_announced = True
                self._announce()
        return now < self._heard_at[worker] + SILENT_SECONDS_MAX

    def _started(self) -> Process:
        worker = Process(self.config, self.sockets)
        # What ends a whole terminal is for this process to hear, which ends the others: those that are just importing
        # would end with a traceback, and those that serve in the middle of it. They inherit what is blocked.
        resource_tracker.ensure_running()
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        try:
            worker.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        self._heard_at[worker] = time.monotonic()
        return worker
