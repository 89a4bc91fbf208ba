"""Owns running the real server as a process, and asking it."""

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from subgraph.adapters import die_with_parent
from tests.support.warm_process import WarmProcess

READY_SECONDS_MAX = 120.0
END_SECONDS_MAX = 30.0
LEASE_SETTING = "SESSION_MANAGER_POD_LEASE_SECONDS_MAX"
PATIENT = {LEASE_SETTING: "30"}
"""For servers whose pods are tests that act by hand, and may be slow about it on a busy machine."""

PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP. Each that is given none reads all certificates that this machine trusts."""

ServerProcess: TypeAlias = "subprocess.Popen[bytes] | WarmProcess"


@dataclass
class RunningServer:
    """A `session-manager serve` process that is ready."""

    process: ServerProcess
    url: str
    data_dir: Path
    http: httpx.Client
    pod_lease_seconds_max: int = 5
    leases: dict[str, str] = field(default_factory=dict)
    """The lease tokens of the pods that tests have registered."""

    @property
    def websocket_url(self) -> str:
        return "ws" + self.url.removeprefix("http") + "/graphql"

    @property
    def redis_url(self) -> str:
        """The embedded store's URL."""
        return f"unix://{self.data_dir}/valkey/valkey.sock"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The whole answer to an operation."""
        answer: dict[str, Any] = self.http.post("/graphql", json={"query": query, "variables": variables}).json()
        return answer

    def data(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an operation that must not fail."""
        answer = self.ask(query, **variables)
        assert "errors" not in answer, answer["errors"]
        data: dict[str, Any] = answer["data"]
        return data

    def stop(self, by: signal.Signals = signal.SIGINT) -> float:
        """End the process; returns how long it took, in seconds."""
        started = time.monotonic()
        self.process.send_signal(by)
        self.process.wait(END_SECONDS_MAX)
        return time.monotonic() - started


@contextlib.contextmanager
def running_server(data_dir: Path, *arguments: str, **environment: str) -> Iterator[RunningServer]:
    """A ready server on a free port, ended at exit; what it says is in a file beside its data."""
    start = _start_warm if sys.platform == "linux" else _start_command
    with _running(start, data_dir, arguments, environment) as running:
        yield running


@contextlib.contextmanager
def server_by_command(data_dir: Path, *arguments: str, **environment: str) -> Iterator[RunningServer]:
    """The same in a new interpreter, as for a user: for what depends on how it is started."""
    with _running(_start_command, data_dir, arguments, environment) as running:
        yield running


@contextlib.contextmanager
def _running(
    start: Callable[[list[str], Path, dict[str, str]], ServerProcess],
    data_dir: Path,
    arguments: Sequence[str],
    environment: Mapping[str, str],
) -> Iterator[RunningServer]:
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    log_path = data_dir.with_name(f"{data_dir.name}.log")
    log_path.write_bytes(b"")
    command = ["serve", "--port", "0", "--data-dir", str(data_dir), *arguments]
    process = start(command, log_path, {**os.environ, **environment})
    try:
        url = until(lambda: _url_of(process, log_path), "the server says where it is", READY_SECONDS_MAX)
        with httpx.Client(base_url=url, timeout=30, verify=PLAIN) as http:
            until(lambda: http.get("/readyz").status_code == 200, "the server is ready", READY_SECONDS_MAX)
            lease_seconds_max = int(environment.get(LEASE_SETTING, RunningServer.pod_lease_seconds_max))
            yield RunningServer(process, url, data_dir, http, lease_seconds_max)
    finally:
        if process.poll() is None:
            # How it ends when it is asked to is what `stop` is for; elsewhere nobody waits for that. What it has
            # started ends with it, which only Linux sees to.
            process.send_signal(signal.SIGKILL if sys.platform == "linux" else signal.SIGTERM)
            process.wait(END_SECONDS_MAX)


def _start_warm(arguments: list[str], log_path: Path, environment: dict[str, str]) -> ServerProcess:
    return WarmProcess(arguments, log_path, environment)


def _start_command(arguments: list[str], log_path: Path, environment: dict[str, str]) -> ServerProcess:
    command = [sys.executable, "-m", "subgraph", *arguments]
    if sys.platform == "linux":
        # A test runner that is killed must not leave servers behind.
        command = [sys.executable, die_with_parent.__file__, str(os.getpid()), *command]
    with log_path.open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)


def until(condition: Any, what: str, seconds_max: float = 30.0) -> Any:
    """The condition's first true value; fails when it does not come in time."""
    give_up_at = time.monotonic() + seconds_max
    while time.monotonic() < give_up_at:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds_max:g} s: {what}")


def _url_of(process: ServerProcess, log_path: Path) -> str | None:
    said = log_path.read_text()
    assert process.poll() is None, f"the server ended: {said}"
    found = re.search(r"^GraphiQL: (http://\S+)/graphql$", said, re.MULTILINE)
    return found[1] if found else None
