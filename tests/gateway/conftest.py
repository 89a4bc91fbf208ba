"""The supergraph under test: both subgraphs and two gateways, started once for all tests of this folder."""

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.gateway.client import Gateway
from tests.gateway.processes import compose, running
from tests.support.server import running_server

HERE = Path(__file__).parent
PROJECT = HERE.parent.parent
ACCESS_TOKEN = "a-secret-of-the-gateway-tests"
AUTHORIZATION = f"Bearer {ACCESS_TOKEN}"
INSTALL_SECONDS_MAX = 240
COMPOSER_OF_GATEWAY = {"hive": "guild", "apollo": "apollo"}


@pytest.fixture(scope="session")
def node_packages() -> None:
    """The Node packages of this folder, installed."""
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"the composers and gateways run on Node: {' and '.join(missing)} not found on PATH")
    lockfile = HERE / "package-lock.json"
    with lockfile.open() as held:
        # Two test processes that install into one folder would delete each other's packages.
        fcntl.flock(held, fcntl.LOCK_EX)
        if not is_installed_since(lockfile.stat().st_mtime):
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX)
            assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"


def is_installed_since(changed_at: float) -> bool:
    # npm writes this file last: an install that was cut short does not count.
    receipt = HERE / "node_modules" / ".package-lock.json"
    return receipt.exists() and receipt.stat().st_mtime >= changed_at


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """This process's environment without what would make a gateway report to its vendor."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("APOLLO_", "HIVE_"))}


@pytest.fixture(scope="session")
def subgraph_urls(
    node_packages: None, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """Both subgraphs, running; the session manager refuses whoever does not send its access token."""
    directory = tmp_path_factory.mktemp("subgraphs")
    command = ["node", "experiment-manager.mjs"]
    with (
        running("experiment-manager", command, directory, environment) as experiment_manager,
        running_server(directory / "data", SESSION_MANAGER_ACCESS_TOKEN=ACCESS_TOKEN) as session_manager,
    ):
        yield {
            "experiment-manager": experiment_manager.url(),
            "session-manager": f"{session_manager.url}/graphql",
        }


@pytest.fixture(scope="session")
def gateways(
    environment: dict[str, str], subgraph_urls: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Gateway]]:
    """Both gateways over the running subgraphs, composed and started side by side."""
    directory = tmp_path_factory.mktemp("gateways")
    urls = [argument for name, url in subgraph_urls.items() for argument in ("--url", f"{name}={url}")]
    options = ["--config", str(PROJECT / "supergraph.yaml"), *urls]
    with ThreadPoolExecutor() as threads:
        compositions = {
            gateway: threads.submit(compose, composer, *options, "--out", directory / f"{gateway}.graphql")
            for gateway, composer in COMPOSER_OF_GATEWAY.items()
        }
    for composition in compositions.values():
        assert composition.result().returncode == 0, composition.result().stderr
    with ExitStack() as servers:
        started = {
            gateway: servers.enter_context(
                running(
                    gateway,
                    ["node", f"{gateway}-gateway.mjs", directory / f"{gateway}.graphql"],
                    directory,
                    environment,
                )
            )
            for gateway in COMPOSER_OF_GATEWAY
        }
        yield {name: Gateway(name, server.url(), AUTHORIZATION) for name, server in started.items()}


@pytest.fixture(params=list(COMPOSER_OF_GATEWAY))
def gateway(request: pytest.FixtureRequest, gateways: dict[str, Gateway]) -> Gateway:
    """Each gateway in turn: what holds through one must hold through the other."""
    return gateways[request.param]


@pytest.fixture
def hive(gateways: dict[str, Gateway]) -> Gateway:
    """The gateway that carries subscriptions."""
    return gateways["hive"]
