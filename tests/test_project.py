"""The project as a whole: layers import as they may; what is installed, pinned, copied, run and promised agrees."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from threading import Thread

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from subgraph import __version__
from subgraph.cli import main
from subgraph.settings import BadSetting, Settings
from subgraph.settings.texts import PREFIX
from tests import requirements_page, settings_page

PROJECT = Path(__file__).parent.parent
sys.path.append(str(PROJECT / ".ci"))
from dockerfile import Stage, read_dockerfile  # noqa: E402

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.]+)(; python_full_version < \"[\d.]+\")?")
COMMAND_SECONDS_MAX = 120
MAY_IMPORT = {
    "domain": {"domain"},
    "operations": {"operations", "domain"},
    "adapters": {"adapters", "operations", "domain", "client"},
    "api": {"api", "operations", "domain"},
    "client": {"client"},
    "demo": {"demo", "client", "adapters", "domain"},
    "settings": {"settings", "operations", "domain", "logs"},
    "wiring": {"wiring", "api", "adapters", "operations", "domain", "settings", "__version__"},
}
"""Layer to the layers it may import; the modules beside the layers wire them together, and may import all."""

OPERATIONS_MAY_IMPORT: dict[str, set[str]] = {
    "sessions": set(),
    "fleet": set(),
    "coverage": {"sessions", "fleet"},
    "control": {"coverage", "fleet"},
    "history": {"control", "fleet"},
    "journal": {"history", "control", "sessions", "fleet"},
    "by_hand": {"control", "coverage", "sessions", "fleet"},
    "transfer": {"coverage", "sessions"},
}
"""Folder of operations to the folders it may import besides itself: no two need each other. All may import what lies
beside the folders, which imports none of them."""

DOMAIN_MAY_IMPORT = {*sys.stdlib_module_names, "h3", "numpy", "msgspec", "shapely"} - {
    "asyncio",
    "socket",
    "sqlite3",
    "subprocess",
}


@pytest.fixture(scope="module")
def builder() -> Stage:
    return read_dockerfile((PROJECT / "Dockerfile").read_text())[0]


@pytest.fixture(scope="module")
def image() -> Stage:
    return read_dockerfile((PROJECT / "Dockerfile").read_text())[-1]


def imports_of(module: Path) -> set[str]:
    """The full names of what a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides its layer"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("layer", sorted(MAY_IMPORT))
def test_layer_imports_only_layers_it_may(layer: str) -> None:
    modules = [*(PROJECT / "subgraph" / layer).rglob("*.py")]
    assert modules
    for module in modules:
        own = {name.split(".")[1] for name in imports_of(module) if name.startswith("subgraph.")}
        assert own <= MAY_IMPORT[layer], f"{module.relative_to(PROJECT)} must not import {own - MAY_IMPORT[layer]}"


def test_every_folder_of_the_package_is_a_layer() -> None:
    assert {path.parent.name for path in (PROJECT / "subgraph").glob("*/__init__.py")} == {*MAY_IMPORT}


def test_folders_of_operations_import_only_folders_they_may() -> None:
    operations = PROJECT / "subgraph" / "operations"
    assert {path.parent.name for path in operations.glob("*/__init__.py")} == {*OPERATIONS_MAY_IMPORT}
    for module in operations.rglob("*.py"):
        folder = module.parent.name
        names = [name.split(".") for name in imports_of(module) if name.startswith("subgraph.operations.")]
        others = {parts[2] for parts in names if parts[2] in OPERATIONS_MAY_IMPORT} - {folder}
        foreign = others - OPERATIONS_MAY_IMPORT.get(folder, set())
        assert foreign == set(), f"{module.relative_to(PROJECT)} must not import {foreign}"


def test_domain_needs_no_framework_and_does_no_io() -> None:
    for module in (PROJECT / "subgraph" / "domain").rglob("*.py"):
        foreign = {name.split(".")[0] for name in imports_of(module)} - DOMAIN_MAY_IMPORT - {"subgraph"}
        assert foreign == set(), f"{module.relative_to(PROJECT)} must not import {foreign}"


def packaged_files() -> set[str] | None:
    """The installed files of the distribution; None where the checkout itself is what is imported."""
    try:
        installed = distribution(DECLARED["name"])
    except PackageNotFoundError:
        return None
    origin = json.loads(installed.read_text("direct_url.json") or "{}")
    if origin.get("dir_info", {}).get("editable"):
        return None
    return {path.as_posix() for path in installed.files or ()}


def test_the_files_of_the_package_are_installed_and_no_others() -> None:
    packaged = packaged_files()
    if packaged is None:
        pytest.skip("the package is not installed as a copy")
    of_checkout = {
        path.relative_to(PROJECT).as_posix()
        for path in (PROJECT / "subgraph").rglob("*")
        if path.is_file() and path.suffix not in {".pyc", ".md"}
    }
    assert of_checkout - packaged == set(), "not installed: missing in package-data, or newer than the installation"
    left_over = {path for path in packaged - of_checkout if path.startswith("subgraph/") and not path.endswith(".pyc")}
    assert left_over == set(), "no longer in the checkout: remove build/ and install again"


def test_constraints_pin_exactly_and_satisfy_what_is_declared() -> None:
    pins = {}
    for line in (PROJECT / "constraints.txt").read_text().splitlines():
        match = PIN.fullmatch(line)
        assert match, f"not an exact pin: {line}"
        pins[canonicalize_name(match["name"])] = match["version"]
    extras = [text for extra in DECLARED["optional-dependencies"].values() for text in extra]
    for requirement in map(Requirement, (*DECLARED["dependencies"], *extras)):
        if requirement.name != DECLARED["name"]:
            version = pins.get(canonicalize_name(requirement.name))
            assert version, f"{requirement.name} is not pinned"
            assert version in requirement.specifier, f"{requirement} is pinned to {version}"


def test_readme_opens_with_the_two_commands() -> None:
    blocks = re.findall(r"```sh\n(.*?)```", (PROJECT / "README.md").read_text(), re.DOTALL)
    run, check = (block.splitlines() for block in blocks[:2])
    assert len(run) == len(check) == 1
    assert run[0].endswith(".venv/bin/session-manager demo")
    assert check[0].endswith(".venv/bin/pytest")
    assert all("pip install -q -c constraints.txt " in line for line in (*run, *check))


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "docs/architecture.md",
        "docs/authentication.md",
        "docs/settings.md",
        "docs/simulation.md",
        "docs/titles.md",
        "docs/transfer.md",
    ],
)
def test_pages_link_to_files_that_exist(page: str) -> None:
    source = PROJECT / page
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", source.read_text())
    missing = [target for target in targets if not (source.parent / target).exists()]
    assert not missing


def test_changelog_tells_of_this_version() -> None:
    assert re.search(rf"^## \[{re.escape(__version__)}\]", (PROJECT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_image_keeps_nothing_of_its_builder_but_the_installed_package(builder: Stage, image: Stage) -> None:
    assert builder.base == image.base
    [copied] = image.all("COPY")
    source, target, path = copied.split()
    assert source == f"--from={builder.name}"
    assert target == path
    assert any(
        f"{path}/bin/pip install" in command and " -c constraints.txt ." in command for command in builder.all("RUN")
    )
    assert not any("pip" in command for command in image.all("RUN"))


def test_image_runs_as_a_numbered_user_that_owns_the_data(image: Stage) -> None:
    uid, gid = image.last("USER").split(":")
    assert int(uid) > 0
    assert int(gid) > 0
    data = image.environment[f"{PREFIX}DATA_DIR"]
    assert image.last("VOLUME") == data
    assert any(f"--owner={uid} --group={gid}" in command and command.endswith(data) for command in image.all("RUN"))


def test_image_sets_what_there_is_to_set_and_asks_for_a_token(image: Stage) -> None:
    given = {name: value for name, value in image.environment.items() if name.startswith(PREFIX)}
    with pytest.raises(BadSetting, match=f"{PREFIX}ACCESS_TOKEN"):
        Settings.from_environment(given)
    settings = Settings.from_environment(given | {f"{PREFIX}ACCESS_TOKEN": "a-secret-token"})
    assert {**settings.to_environment(), **given} == settings.to_environment()
    assert image.last("EXPOSE") == str(settings.port)


def test_image_runs_a_command_of_the_project(image: Stage) -> None:
    program, subcommand = image.command
    assert program in DECLARED["scripts"]
    assert subcommand in main.commands


def test_image_is_built_from_files_that_exist_and_are_not_ignored(builder: Stage) -> None:
    admitted = (PROJECT / ".dockerignore").read_text().splitlines()
    sources = [source for copied in builder.all("COPY") for source in copied.split()[:-1]]
    assert {"pyproject.toml", "constraints.txt", "subgraph", DECLARED["readme"], *DECLARED["license-files"]} == {
        *sources
    }
    for source in sources:
        assert (PROJECT / source).exists()
        assert f"!{source}" in admitted
    assert "*" in admitted, "a checkout's data must stay outside"


@pytest.mark.parametrize(("status", "is_healthy"), [(200, True), (503, False)])
def test_healthcheck_says_what_readyz_says(image: Stage, status: int, is_healthy: bool) -> None:
    program, *arguments = image.healthcheck
    assert program == "python3"
    with answering("/readyz", status) as port:
        done = subprocess.run(
            [sys.executable, *arguments],
            env=os.environ | {f"{PREFIX}PORT": str(port)},
            stderr=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS_MAX,
        )
    assert (done.returncode == 0) is is_healthy


@contextmanager
def answering(path: str, status: int) -> Iterator[int]:
    """A server on a free port that answers one path with a status, and any other with 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == path else 404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(("body", "code"), [("pass", 0), ("pytest.skip('lacks something')", 1)])
def test_a_skipped_test_fails_continuous_integration(tmp_path: Path, body: str, code: int) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\n\ndef test_other(): pass\n\ndef test_it(): {body}\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no_skips", "-c", os.devnull, "--rootdir", tmp_path, tmp_path],
        env=os.environ | {"PYTHONPATH": str(PROJECT / ".ci"), "PYTEST_ADDOPTS": "--disable-plugin-autoload"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
    )
    assert done.returncode == code, done.stdout


def test_the_page_of_requirements_is_as_the_tests_say_and_every_line_has_a_test() -> None:
    current = requirements_page.page()
    assert "nothing yet" not in current
    assert (PROJECT / "tests/requirements.md").read_text() == current, (
        "print it anew: python -m tests.requirements_page > tests/requirements.md"
    )


def test_every_setting_is_on_the_page_of_settings_with_what_it_means() -> None:
    assert (PROJECT / "docs/settings.md").read_text() == settings_page.page(), (
        "print it anew: python -m tests.settings_page > docs/settings.md"
    )
