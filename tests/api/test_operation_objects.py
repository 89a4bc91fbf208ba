"""How many objects an operation may ask for: what multiplies, what adds up, and that all who ask reasonably may."""

from typing import Any

import pytest
from graphql import GraphQLList, GraphQLObjectType, get_nullable_type, parse, validate

from subgraph.api.entities import REPRESENTATIONS_MAX
from subgraph.api.limits.operation_counts import COUNTS
from subgraph.api.limits.operation_objects import BATCHES, OperationObjects
from subgraph.api.schema import make_schema
from subgraph.operations.about import OPERATION_OBJECTS_MAX
from subgraph.settings import Settings
from tests.support.server import RunningServer
from tests.support.subscriber import subscribed
from tests.support.world import disk, new_session

SCHEMA = make_schema()._schema
PAGES = """query($n: Int! = 20, $m: Int) { sessions(first: $n) { edges { node { tiles(first: $m) { edges {
  node { id } } } } } } }"""


def refusal(text: str, name: str | None = None, most: int = OPERATION_OBJECTS_MAX, **variables: Any) -> Any:
    document = parse(text)
    assert validate(SCHEMA, document) == []
    return OperationObjects(SCHEMA, document).refusal(name, variables, most)


def asked(text: str, name: str | None = None, **variables: Any) -> int:
    """The least limit that lets it pass."""
    few, many = -1, 2**80
    while many - few > 1:
        most = (few + many) // 2
        few, many = (few, most) if refusal(text, name, most, **variables) is None else (most, many)
    return many


def pages(n: int, m: int) -> int:
    """Of sessions and their tiles: connections, edges and nodes."""
    return 1 + n * (1 + 1 + (1 + m * 2))


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("{ __typename }", 0),
        ("{ __schema { types { name fields { name args { name } } } } }", 0),
        ("{ fleet { podCount } }", 1),
        ('{ tile(id: "t") { parent { parent { id } } boundary { lat } } }', 1 + 1 + 1 + 10),
        ("{ sessions(first: 7) { totalCount pageInfo { endCursor } } }", 2),
        ("{ sessions(first: 7) { edges { cursor } } }", 1 + 7),
        ("{ sessions(first: 7) { edges { node { id } } } }", 1 + 7 * 2),
        ("{ sessions { edges { node { id } } } }", 1 + 20 * 2),
        ("{ a: sessions { edges { cursor } } b: sessions { edges { cursor } } }", 2 * (1 + 20)),
        ("{ sessions(first: 3) { edges { node { tiles { edges { node { id } } } } } } }", pages(3, 100)),
        ("{ sessions(first: 0) { edges { cursor } } }", 1),
        ("{ sessions(first: -5) { edges { cursor } } }", 1),
        ("{ sessions(first: 2000000000) { edges { cursor } } }", 1 + 1_000),
        ('{ tile(id: "t") { neighbors { neighbors { id } } } }', 1 + 10 * (1 + 10)),
        ('{ tile(id: "t") { explanation(first: 5) { candidates { pod { id } } } } }', 1 + 1 + 5 * 2),
        ("{ _entities(representations: []) { __typename } }", 0),
        ("{ _entities(representations: [{a: 1}, {a: 2}]) { ... on Session { owner: parents { totalCount } } } }", 4),
    ],
)
def test_lists_multiply_what_lies_within_them_and_all_else_adds_up(text: str, objects: int) -> None:
    assert asked(text) == objects


def test_variables_count_as_they_are_sent_else_by_their_default_else_by_the_fields() -> None:
    assert asked(PAGES) == pages(20, 100)
    assert asked(PAGES, n=5) == pages(5, 100)
    assert asked(PAGES, n=5, m=3) == pages(5, 3)
    assert asked(PAGES, n=5.0, m=3) == pages(5, 3)
    # Such a value is refused before it is executed, as no number.
    for no_number in ("5", True, 5.5, [5]):
        assert asked(PAGES, n=no_number) <= pages(1, 100)


def test_what_is_null_counts_as_the_fields_default_which_it_gets() -> None:
    assert asked("{ sessions(first: null) { edges { cursor } } }") == 1 + 20
    assert asked(PAGES, n=5, m=None) == pages(5, 100)
    own_default = "query($n: Int = 1) { sessions(first: $n) { edges { cursor } } }"
    assert (asked(own_default), asked(own_default, n=None)) == (1 + 1, 1 + 20)
    assert asked("query($n: Int = null) { sessions(first: $n) { edges { cursor } } }") == 1 + 20


@pytest.mark.parametrize(("references", "count"), [([], 0), ([{}], 1), ([{}] * 300, 300), ({}, 1), (None, 0)])
def test_references_count_by_their_number(references: object, count: int) -> None:
    text = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Tile { assignment { id } } } }"
    assert asked(text, r=references) == count * 2


def test_fragments_count_wherever_they_are_spread_also_within_a_page() -> None:
    text = """query($n: Int!) { sessions(first: $n) { ...Page ...Page ... { edges { cursor } } } fleet { ...Pods } }
    fragment Page on SessionConnection { edges { ...Edge } }
    fragment Edge on SessionEdge { node { tiles(first: 2) { edges { cursor } } } }
    fragment Pods on Fleet { pods { edges { cursor } } }"""
    assert asked(text, n=4) == 1 + 2 * 4 * (1 + 1 + 1 + 2) + 4 + 1 + 1 + 100


def test_of_several_operations_the_one_that_is_asked_for_counts() -> None:
    text = "query A { sessions(first: 2) { edges { cursor } } } query B { sessions(first: 9) { edges { cursor } } }"
    assert (asked(text, "A"), asked(text, "B")) == (3, 10)


def test_the_error_names_the_lists_the_product_and_the_limit(server: RunningServer) -> None:
    (error,) = server.ask(PAGES, n=1_000, m=1_000)["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "limit": f"{OPERATION_OBJECTS_MAX} objects"}
    assert f"at most {OPERATION_OBJECTS_MAX:,} objects, not {pages(1_000, 1_000):,}; " in error["message"]
    assert "most of them in sessions(1,000) × tiles(1,000)" in error["message"]


def test_the_same_document_is_counted_anew_with_other_variables(server: RunningServer) -> None:
    session_id = new_session(server, disk(1))
    ours = """query($id: ID!, $n: Int!) { a: session(ref: {id: $id}) { ...T } }
    fragment T on Session { tiles(first: $n) { edges { node { ...S } } } }
    fragment S on Tile { session { tiles(first: 200) { edges { cursor } } } }"""
    for n, is_refused in ((10, False), (1_000, True), (10, False), (200, False), (1_000, True)):
        assert ("errors" in server.ask(ours, id=session_id, n=n)) == is_refused


def test_a_page_that_is_too_large_is_refused_by_its_field_as_ever(server: RunningServer) -> None:
    (error,) = server.ask("{ sessions(first: 101) { edges { cursor } } }")["errors"]
    assert "first must lie between 1 and 100" in error["message"]


def test_a_subscription_is_counted_like_a_query(server: RunningServer) -> None:
    text = """subscription($n: Int!) { sessionEvents { session { associates(first: $n) { edges { node {
      tiles(first: $n) { edges { node { id } } } } } } } } }"""
    with subscribed(server.websocket_url, text, n=1_000) as subscriber:
        (error,) = subscriber.next()["errors"]
    assert error["extensions"]["limit"] == f"{OPERATION_OBJECTS_MAX} objects"


def test_fragments_that_double_each_other_are_counted_as_fast_as_they_are_read() -> None:
    steps = "".join(
        f"fragment F{i} on Session {{ a{i}: parents {{ edges {{ node {{ id }} }} }} ...F{i + 1} ...F{i + 1} }}"
        for i in range(80)
    )
    document = parse(f'{{ session(ref: {{id: "s"}}) {{ ...F0 }} }} {steps} fragment F80 on Session {{ id }}')
    # Spread by spread it would take longer than there is time.
    assert OperationObjects(SCHEMA, document).refusal(None, None, 2**80) is not None


def test_gateways_may_join_as_many_references_as_there_may_be() -> None:
    text = """query($r: [_Any!]!) { _entities(representations: $r) { ... on Tile {
      h3Index assignment { epoch pod { id } } session { id displayName partition { tileCount } } } } }"""
    assert refusal(text, r=[{}] * REPRESENTATIONS_MAX) is None


def test_lists_that_are_taken_for_long_are_lists_that_no_argument_counts() -> None:
    for name in BATCHES:
        owner, field = name.split(".")
        kind = SCHEMA.type_map[owner]
        assert isinstance(kind, GraphQLObjectType)
        assert isinstance(get_nullable_type(kind.fields[field].type), GraphQLList)
        assert COUNTS.keys().isdisjoint(kind.fields[field].args)


def test_the_limit_is_told_and_a_setting(server: RunningServer) -> None:
    limits = server.data("{ sessionManager { limits } }")["sessionManager"]["limits"]
    assert limits["operationObjects"] == OPERATION_OBJECTS_MAX == Settings().operation_objects_max
