"""The subgraph composes with its neighbour under every composer, and each composer says why when it does not."""

from pathlib import Path

import pytest

from subgraph.api.schema import print_sdl
from tests.gateway.processes import compose

PROJECT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.xdist_group("gateway")


@pytest.fixture(params=["apollo", "guild", "cosmo"])
def composer(request: pytest.FixtureRequest) -> str:
    """Each composer in turn: a schema that only some accept shuts out the gateways of the others."""
    name: str = request.param
    return name


@pytest.mark.usefixtures("node_packages")
def test_composes_with_the_experiment_manager(composer: str, tmp_path: Path) -> None:
    supergraph = tmp_path / "supergraph.graphql"
    done = compose(composer, "--config", PROJECT / "supergraph.yaml", "--out", supergraph)
    assert done.returncode == 0, done.stderr
    assert "experiments" in supergraph.read_text()
    assert "createSession" in supergraph.read_text()


@pytest.mark.usefixtures("node_packages")
def test_composes_with_its_scopes_as_directives_too_which_the_supergraph_then_has(
    composer: str, tmp_path: Path
) -> None:
    (tmp_path / "session-manager.graphql").write_text(print_sdl(scope_directives=True))
    (tmp_path / "supergraph.yaml").write_text(
        "subgraphs:\n"
        "  session-manager:\n"
        "    routing_url: http://127.0.0.1:4001/graphql\n"
        "    schema: {file: session-manager.graphql}\n"
        "  experiment-manager:\n"
        "    routing_url: http://127.0.0.1:4002/graphql\n"
        f"    schema: {{file: '{PROJECT / 'tests' / 'gateway' / 'experiment-manager.graphql'}'}}\n"
    )
    supergraph = tmp_path / "supergraph.graphql"
    done = compose(composer, "--config", tmp_path / "supergraph.yaml", "--out", supergraph)
    assert done.returncode == 0, done.stderr
    assert '["session:write"]' in supergraph.read_text()


@pytest.mark.usefixtures("node_packages")
def test_a_neighbour_that_gives_our_field_another_type_is_refused_with_the_reason(
    composer: str, tmp_path: Path
) -> None:
    (tmp_path / "neighbour.graphql").write_text(
        'extend schema @link(url: "https://specs.apollo.dev/federation/v2.9", import: ["@key", "@shareable"])\n'
        'type Session @key(fields: "id") { id: ID! displayName: Int! @shareable }\n'
        "type Query { neighbour: Session }\n"
    )
    (tmp_path / "supergraph.yaml").write_text(
        "subgraphs:\n"
        "  session-manager:\n"
        "    routing_url: http://127.0.0.1:4001/graphql\n"
        f"    schema: {{file: '{PROJECT / 'schema.graphql'}'}}\n"
        "  neighbour:\n"
        "    routing_url: http://127.0.0.1:4002/graphql\n"
        "    schema: {file: neighbour.graphql}\n"
    )
    done = compose(composer, "--config", tmp_path / "supergraph.yaml")
    assert done.returncode == 1, done.stdout
    assert "displayName" in done.stderr
