"""What a document may cost to read: what is refused at once says the limit, and what passes takes few steps."""

from typing import Any

import pytest
from graphql import GraphQLError, parse, specified_rules, validate

from subgraph.api.limits.operation_documents import (
    COMPARISONS_MAX,
    DOCUMENT_LIMITS,
    ERRORS_MAX,
    LENGTH_MAX,
    TOKENS_MAX,
    Documents,
)
from subgraph.api.schema import make_schema
from tests.support.server import RunningServer
from tests.support.subscriber import subscribed

SCHEMA = make_schema()._schema

COMPARED = f"{COMPARISONS_MAX} comparisons"


def errors_of(text: str) -> list[GraphQLError]:
    return Documents(SCHEMA).read(text).errors


def limits_of(text: str) -> list[str]:
    return [error.extensions["limit"] for error in errors_of(text) if error.extensions]


def fragments(count: int, selected: str) -> str:
    spreads = " ".join(f"...F{number}" for number in range(count))
    each = " ".join(f"fragment F{number} on Tile {{ {selected} }}" for number in range(count))
    return f'{{ tile(id: "t") {{ {spreads} }} }} {each}'


@pytest.mark.parametrize(
    "text",
    [
        "{ sessions { edges { node { " + "events { pageInfo { endCursor } } " * 500 + "} } } }",
        '{ tile(id: "t") { ' + "id " * 1_000 + "} }",
        "{ " + ('tile(id: "t") { ' + "parent { id id } " * 20 + "} ") * 20 + "}",
        fragments(400, "id"),
        "{ __schema { types { " + "fields { name args { name type { name } } } " * 200 + "} } }",
    ],
    ids=["fields with parts", "leaves", "fields within fields", "fragments", "introspection"],
)
def test_fields_and_fragments_that_are_many_to_compare_are_refused_with_a_code_and_the_limit(text: str) -> None:
    (error,) = errors_of(text)
    assert error.extensions == {"code": "INVALID_INPUT", "limit": COMPARED}
    assert f"{COMPARISONS_MAX:,} steps" in error.message


def test_what_gateways_and_front_ends_repeat_passes() -> None:
    assert errors_of(fragments(25, "id h3Index assignment { epoch pod { id } }")) == []
    text = "{ sessions { edges { node { " + "id displayName " * 40 + "} } } }"
    assert errors_of(text) == []


def test_a_document_is_measured_before_it_is_validated() -> None:
    many = " ".join(f"a{number}: nothing" for number in range(300))
    assert limits_of(f"{{ {many} }}") == ["200 aliases"]
    assert len(validate(SCHEMA, parse(f"{{ {many} }}"), specified_rules)) > 1


def test_a_ring_of_fragments_hides_nothing_that_is_many_to_compare() -> None:
    (error,) = errors_of('{ tile(id: "t") { ' + "id " * 1_000 + "} ...R } fragment R on Query { ...R }")
    assert "within itself" in error.message


@pytest.mark.parametrize("filling", [" ", "\n", ",", "#", '"""'], ids=["spaces", "lines", "commas", "comment", "text"])
def test_a_text_that_is_too_long_is_refused_whatever_it_is_made_of(filling: str) -> None:
    text = f'{{ tile(id: "t") {{ id }} }} {filling}'.ljust(LENGTH_MAX + 1, "a" if filling in ("#", '"""') else filling)
    (error,) = errors_of(text)
    assert error.extensions == {"code": "INVALID_INPUT", "limit": f"{LENGTH_MAX} characters"}
    if filling != '"""':
        assert errors_of(text[:-1]) == []


def test_a_text_of_too_many_tokens_is_refused_while_it_is_read() -> None:
    (error,) = errors_of("{ " + "id " * TOKENS_MAX)
    assert f"more than {TOKENS_MAX} tokens" in error.message
    assert error.extensions == {"code": "INVALID_INPUT", "limit": f"{TOKENS_MAX} tokens"}


def test_of_many_errors_a_few_are_told_and_that_there_are_more() -> None:
    told = errors_of("{ " + " ".join(f"nothing{number}" for number in range(ERRORS_MAX + 1)) + " }")
    assert len(told) == ERRORS_MAX + 1
    assert told[-1].extensions == {"code": "INVALID_INPUT", "limit": f"{ERRORS_MAX} errors"}
    few = errors_of("{ " + " ".join(f"nothing{number}" for number in range(ERRORS_MAX)) + " }")
    assert len(few) == ERRORS_MAX
    assert [error.extensions for error in few] == [{"code": "GRAPHQL_VALIDATION_FAILED"}] * ERRORS_MAX


def test_a_refused_text_is_told_as_an_error_of_its_operation_over_http_and_over_a_socket(server: RunningServer) -> None:
    long = "subscription { sessionEvents { cursor } }" + " " * LENGTH_MAX
    for text, told in ((long, "at most 100,000 characters"), ("subscription {", "Syntax Error")):
        (error,) = server.ask(text)["errors"]
        assert told in error["message"]
        with subscribed(server.websocket_url, text) as subscriber:
            (error,) = subscriber.next()["errors"]
        assert told in error["message"]


def test_the_limits_of_documents_are_told(server: RunningServer) -> None:
    limits: dict[str, Any] = server.data("{ sessionManager { limits } }")["sessionManager"]["limits"]
    assert limits.items() >= DOCUMENT_LIMITS.items()
