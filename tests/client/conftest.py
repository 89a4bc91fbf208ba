"""What the tests of sinks share: the stores they run on."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.databases import postgres_server
from tests.support.sinks import OpensSink, redis_sinks, sql_sinks, sqlite_sinks_url

OpensStore = Callable[[], "contextlib.AbstractAsyncContextManager[OpensSink]"]


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A PostgreSQL of this worker's own. Tests share it: each names its own sinks and tables."""
    return postgres_server()


@pytest.fixture(params=["redis", "sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> OpensStore:
    """Opens the store that a test of the contract runs on."""
    match request.param:
        case "redis":
            url = request.getfixturevalue("valkey_url")
            return lambda: redis_sinks(url)
        case "sqlite":
            return lambda: sql_sinks(sqlite_sinks_url(tmp_path))
        case _:
            url = request.getfixturevalue("postgres_url")
            return lambda: sql_sinks(url)
