"""How large an operation may be: fragments count wherever they are spread, and cost no more to measure than to read."""

from typing import Any

import pytest
from graphql import get_introspection_query, parse

from subgraph.api.limits.operation_size import OPERATION_LIMITS, size_errors
from subgraph.api.schema import make_schema
from tests.support.server import RunningServer

SCHEMA = make_schema()._schema


def refusals(operation: str) -> list[dict[str, Any] | None]:
    return [error.extensions for error in size_errors(SCHEMA, parse(operation))]


def beyond(limit: str) -> dict[str, str]:
    return {"code": "INVALID_INPUT", "limit": limit}


def doubled(fragments: int, last: str) -> str:
    """Fragments each of which spreads the next one twice."""
    steps = (f"fragment F{i} on Query {{ ...F{i + 1} ...F{i + 1} }}" for i in range(fragments))
    return "\n".join(("{ ...F0 }", *steps, f"fragment F{fragments} on Query {{ {last} }}"))


def nested(field: str, times: int, innermost: str = "id") -> str:
    return f"{field} {{ " * times + innermost + " }" * times


def test_fragments_that_double_each_other_are_measured_as_fast_as_they_are_read() -> None:
    assert refusals(doubled(90, "__typename")) == [beyond("5000 fields")]
    assert refusals(doubled(90, "a: __typename")) == [beyond("200 aliases")]


def test_what_fragments_spread_within_fields_counts_as_often_as_it_is_executed() -> None:
    step = "assignment {{ tile {{ ...T{0} }} }} handoff {{ tile {{ ...T{0} }} }} parent {{ ...T{0} }}"
    steps = (f"fragment T{i} on Tile {{ {step.format(i + 1)} }}" for i in range(9))
    operation = "\n".join(('{ tile(id: "t") { ...T0 } }', *steps, "fragment T9 on Tile { id }"))
    assert refusals(operation) == [beyond("5000 fields")]


def test_a_long_chain_of_fragments_is_told_its_limit(server: RunningServer) -> None:
    chain = "\n".join(f"fragment F{i} on Query {{ ...F{i + 1} }}" for i in range(400))
    (first, *_) = server.ask(f"{{ ...F0 }}\n{chain}\nfragment F400 on Query {{ __typename }}")["errors"]
    assert first["extensions"] == beyond("100 nesting")


def test_fragments_that_spread_each_other_are_refused_for_that(server: RunningServer) -> None:
    ring = "\n".join(f"fragment F{i} on Query {{ ...F{(i + 1) % 50} }}" for i in range(50))
    (error,) = server.ask(f"{{ ...F0 }}\n{ring}")["errors"]
    assert "itself" in error["message"]


def test_a_fragment_that_no_operation_spreads_is_measured_like_one_that_is() -> None:
    assert refusals("{ __typename } " + doubled(90, "__typename").removeprefix("{ ...F0 }")) == [beyond("5000 fields")]


@pytest.mark.parametrize("field", ["neighbors", "children", "replacedBy"])
def test_lists_within_lists_are_refused_beyond_three(field: str) -> None:
    assert refusals(f'{{ tile(id: "t") {{ {nested(field, 3)} }} }}') == []
    assert refusals(f'{{ tile(id: "t") {{ {nested(field, 4)} }} }}') == [beyond("3 lists")]


@pytest.mark.parametrize("pages", ["parents", "associates", "tiles", "events"])
def test_pages_within_pages_are_lists_within_lists(pages: str) -> None:
    onwards = {"tiles": "session { ", "events": "session { "}.get(pages, "")
    level = f"{pages}(first: 100) {{ edges {{ node {{ {onwards}"
    closing = " }" * level.count("{")
    for times, refused in ((3, []), (4, [beyond("3 lists")])):
        operation = '{ session(ref: {id: "s"}) { ' + level * times + "id" + closing * times + " } }"
        assert refusals(operation) == refused


def test_depth_is_counted_through_fragments() -> None:
    parents = f'{{ tile(id: "t") {{ ...P }} }} fragment P on Tile {{ {nested("parent", 19)} }}'
    assert refusals(parents) == []
    assert refusals(parents.replace("{ id }", "{ parent { id } }")) == [beyond("20 depth")]


def test_tools_that_read_the_whole_schema_are_within_the_limits() -> None:
    assert refusals(get_introspection_query(input_value_deprecation=True)) == []


def test_the_limits_are_told(server: RunningServer) -> None:
    limits = server.data("{ sessionManager { limits } }")["sessionManager"]["limits"]
    assert limits.items() >= OPERATION_LIMITS.items()
    assert {"operationDepth", "operationLists"} <= OPERATION_LIMITS.keys()
