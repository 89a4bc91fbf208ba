"""The schema as a document: printed, described, and bound to what the contract names."""

from pathlib import Path

from click.testing import CliRunner
from graphql import (
    GraphQLNamedType,
    GraphQLSchema,
    build_schema,
    is_enum_type,
    is_input_object_type,
    is_specified_scalar_type,
)
from graphql.type import is_interface_type, is_object_type

from subgraph.api.schema import make_schema
from subgraph.cli import main

ROOT = Path(__file__).parents[2]


def graphql_schema() -> GraphQLSchema:
    return make_schema()._schema


def own_types() -> list[GraphQLNamedType]:
    return [
        one
        for name, one in graphql_schema().type_map.items()
        if not name.startswith(("_", "link__")) and not is_specified_scalar_type(one)
    ]


def test_schema_graphql_is_what_the_command_prints() -> None:
    printed = CliRunner().invoke(main, ["schema"])
    assert printed.exit_code == 0
    assert printed.output == (ROOT / "schema.graphql").read_text(), "run: session-manager schema > schema.graphql"


def test_every_type_field_and_argument_of_a_type_is_described() -> None:
    missing = [one.name for one in own_types() if not one.description]
    for one in own_types():
        if is_object_type(one) or is_interface_type(one) or is_input_object_type(one):
            missing += [
                f"{one.name}.{name}"
                for name, field in one.fields.items()
                if not field.description and not name.startswith("_")
            ]
    assert missing == []


def test_federation_stays_at_the_version_every_composer_takes() -> None:
    assert 'url: "https://specs.apollo.dev/federation/v2.9"' in (ROOT / "schema.graphql").read_text()


def test_enums_print_their_values_by_name() -> None:
    health = graphql_schema().type_map["TileHealth"]
    assert is_enum_type(health)
    assert list(health.values) == ["UNASSIGNED", "STALE", "OVERLOADED", "DEGRADED", "HEALTHY"]


def test_the_printed_schema_parses() -> None:
    build_schema((ROOT / "schema.graphql").read_text(), assume_valid=True)
