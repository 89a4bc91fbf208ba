"""Paths of errors: whatever is wrong with an input, the error names a field that this input has."""

from collections.abc import Iterator
from typing import Any

import pytest
from graphql import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    get_named_type,
    is_required_input_field,
)

from subgraph.api.schema import make_schema
from tests.support.server import RunningServer
from tests.support.world import disk, new_session

SCHEMA = make_schema()._schema
assert SCHEMA.mutation_type is not None
MUTATIONS = {name: field for name, field in SCHEMA.mutation_type.fields.items() if "input" in field.args}
CELL = disk(0)[0]
NOWHERE = "00000000-0000-4000-8000-000000000000"
BAD: dict[str, list[Any]] = {
    "ID": ["", NOWHERE, f"{NOWHERE}:{CELL}", f"{NOWHERE}:{CELL}@1", "a\nb", "x" * 5_000],
    "String": ["", "a\nb", "\u202e", "x" * 50_000],
    "Int": [-1, 0, 2**31 - 1],
    "Long": [-1, 0, 2**53 - 1],
    "Float": [-1, 0, 1e300],
    "Duration": ["-PT1H", "PT0S", "P36500D"],
    "DateTime": ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
    "JSON": [None, [], {}, {"type": "Polygon"}, {"k": "x" * 300_000}],
    "Boolean": [True, False],
}
"""What is likely to be refused of each scalar, or else does no harm."""


def plain(kind: GraphQLInputType, session_id: str) -> Any:
    """A value of a type that may well pass."""
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLList):
        return [plain(kind.of_type, session_id)]
    if isinstance(kind, GraphQLEnumType):
        return next(iter(kind.values))
    if isinstance(kind, GraphQLInputObjectType):
        if kind.name == "TileCoverageInput":
            return {"cells": [CELL]}
        required = {name: field.type for name, field in kind.fields.items() if is_required_input_field(field)}
        tile = {"tileId": f"{session_id}:{CELL}", "tileIds": [f"{session_id}:{CELL}"], "parent": CELL}
        return {name: tile.get(name, plain(one, session_id)) for name, one in required.items()}
    passing = {"ID": session_id, "String": "text", "Duration": "PT1H", "JSON": {}, "Boolean": True}
    return passing.get(kind.name, 1)


def bad(kind: GraphQLInputType, session_id: str) -> Iterator[Any]:
    """Values of a type that are likely to be refused."""
    if isinstance(kind, GraphQLNonNull):
        kind = kind.of_type
    if isinstance(kind, GraphQLList):
        yield []
        yield [plain(kind.of_type, session_id)] * 1_001
        yield from ([one] for one in bad(kind.of_type, session_id))
    elif isinstance(kind, GraphQLInputObjectType):
        for name, field in kind.fields.items():
            for value in bad(field.type, session_id):
                yield {**plain(kind, session_id), name: value}
    elif isinstance(kind, GraphQLEnumType):
        yield from kind.values
    else:
        yield from BAD[kind.name]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_whatever_is_wrong_the_error_names_a_field_of_the_input(server: RunningServer, mutation: str) -> None:
    given = MUTATIONS[mutation].args["input"].type
    kind = get_named_type(given)
    assert isinstance(kind, GraphQLInputObjectType)
    payload = get_named_type(MUTATIONS[mutation].type)
    text = f"mutation($input: {given}) {{ {mutation}(input: $input) {{ errors {{ code path message }} }} }}"
    refused = 0
    astray = []
    for name, field in kind.fields.items():
        session_id = new_session(server, [CELL])
        for value in bad(field.type, session_id):
            wanted = {**plain(kind, session_id), name: value}
            answer = server.ask(text, input=wanted)
            if "errors" in answer:  # refused by its type, before it is executed
                continue
            for error in answer["data"][mutation]["errors"]:
                refused += 1
                if error["path"] is None or error["path"][0] not in kind.fields:
                    astray.append((name, str(value)[:60], error))
    assert refused, payload.name
    assert astray == []
