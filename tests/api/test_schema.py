"""The schema as a document: printed, described, and bound to what the contract names."""

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import pytest
from click.testing import CliRunner
from graphql import (
    GraphQLNamedType,
    GraphQLSchema,
    build_schema,
    is_enum_type,
    is_input_object_type,
    is_non_null_type,
    is_specified_scalar_type,
)
from graphql.type import is_interface_type, is_object_type

from subgraph.api.descriptions import ValueNotDescribed, show_enum
from subgraph.api.schema import make_schema
from subgraph.api.types.event_types import RESERVED, meaning_of
from subgraph.cli import main
from subgraph.domain.event_types import PAYLOADS

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


def parts(one: GraphQLNamedType) -> Iterator[tuple[str, str | None]]:
    """All that a type consists of that is shown by name: fields, their arguments, values; with their descriptions."""
    if is_enum_type(one):
        yield from ((name, value.description) for name, value in one.values.items())
    elif is_input_object_type(one):
        yield from ((name, field.description) for name, field in one.fields.items())
    elif is_object_type(one) or is_interface_type(one):
        for name, field in one.fields.items():
            if not name.startswith("_"):
                yield name, field.description
                yield from ((f"{name}({argument}:)", given.description) for argument, given in field.args.items())


def test_every_type_field_argument_and_value_is_described() -> None:
    missing = [one.name for one in own_types() if not one.description]
    missing += [f"{one.name}.{name}" for one in own_types() for name, described in parts(one) if not described]
    assert missing == []


def test_a_value_of_an_enum_that_nobody_describes_makes_no_schema() -> None:
    class Colour(Enum):
        RED = "RED"
        BLUE = "BLUE"

    with pytest.raises(ValueNotDescribed, match=r"Paint\.BLUE"):
        show_enum(Colour, name="Paint", description="What it is painted.", values={Colour.RED: "Like blood."})


def test_types_of_events_are_reserved_as_long_as_nothing_tells_of_them() -> None:
    told = set()
    for module in (ROOT / "subgraph").rglob("*.py"):
        if module.name not in ("event_types.py", "journal.py") and "api" not in module.relative_to(ROOT).parts:
            told |= set(re.findall(r"SessionEventType\.([A-Z]\w+)", module.read_text()))
    shown = graphql_schema().type_map["SessionEventType"]
    assert is_enum_type(shown)
    assert {name for name, value in shown.values.items() if value.description != RESERVED} == told


def test_every_field_of_a_payload_is_told_with_its_type() -> None:
    for event_type, fields in PAYLOADS.items():
        for field in fields:
            assert f"`{field}` (" in meaning_of(event_type)


def test_how_many_may_be_null_everywhere_for_the_default() -> None:
    pages = {
        f"{one.name}.{name}": field.args["first"]
        for one in own_types()
        if is_object_type(one)
        for name, field in one.fields.items()
        if "first" in field.args
    }
    assert len(pages) > 10
    assert {name for name, first in pages.items() if is_non_null_type(first.type) or not first.default_value} == set()


def test_federation_stays_at_the_version_every_composer_takes() -> None:
    assert 'url: "https://specs.apollo.dev/federation/v2.9"' in (ROOT / "schema.graphql").read_text()


def test_enums_print_their_values_by_name() -> None:
    health = graphql_schema().type_map["TileHealth"]
    assert is_enum_type(health)
    assert list(health.values) == ["UNASSIGNED", "STALE", "OVERLOADED", "DEGRADED", "HEALTHY"]


def test_the_printed_schema_parses() -> None:
    build_schema((ROOT / "schema.graphql").read_text(), assume_valid=True)
