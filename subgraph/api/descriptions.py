"""Owns that nothing in the schema is bare: each value of an enum has its description, and so has each argument.

GraphiQL is the manual, and what it completes or shows on hovering are values and arguments.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import TypeVar

import strawberry
from graphql import GraphQLArgument, GraphQLInputObjectType, GraphQLObjectType, GraphQLSchema, get_named_type
from strawberry.types.enum import has_enum_definition

E = TypeVar("E", bound=Enum)


class ValueNotDescribed(Exception):
    """An enum with a value that nobody describes: there is no schema with it."""


def show_enum(shown: type[E], *, name: str, description: str, values: Mapping[E, str]) -> None:
    """Show an enum in the schema.

    Args:
        shown: the enum, which may be the domain's.
        name: its name in the schema.
        description: what it is about.
        values: what each of its values means.

    Raises:
        ValueNotDescribed: a value has no meaning.
    """
    strawberry.enum(shown, name=name, description=description)
    assert has_enum_definition(shown)
    meanings = {value.name: meaning for value, meaning in values.items()}
    for value in shown.__strawberry_definition__.values:
        if value.name not in meanings:
            raise ValueNotDescribed(f"{name}.{value.name} has no description")
        value.description = meanings[value.name]


def describe_inputs(schema: GraphQLSchema) -> None:
    """Have every argument that is an input object say what its type says; changes the schema in place."""
    for argument in _arguments(schema):
        given = get_named_type(argument.type)
        if argument.description is None and isinstance(given, GraphQLInputObjectType):
            argument.description = given.description


def _arguments(schema: GraphQLSchema) -> Iterator[GraphQLArgument]:
    for owner in schema.type_map.values():
        if isinstance(owner, GraphQLObjectType) and not owner.name.startswith("__"):
            for field in owner.fields.values():
                yield from field.args.values()
