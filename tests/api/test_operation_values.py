"""How many values variables may hold: counted before they are looked at, wherever they lie."""

from typing import Any

import pytest

from subgraph.api.limits.operation_values import KEYS_MAX, VALUE_LIMITS, VALUES_MAX, values_refusal
from tests.support.server import RunningServer

REFERENCES = "query($r: [_Any!]!) { _entities(representations: $r) { __typename } }"


def limit_of(variables: dict[str, object] | None) -> Any:
    refusal = values_refusal(variables)
    return refusal and refusal.extensions and refusal.extensions["limit"]


@pytest.mark.parametrize(
    ("variables", "is_refused"),
    [
        (None, False),
        ({}, False),
        ({"a": [0] * (VALUES_MAX - 1)}, False),
        ({"a": [0] * VALUES_MAX}, True),
        ({"a": [[0] * 100] * (VALUES_MAX // 100)}, True),
        ({"a": [{"b": 0, "c": 0}] * (VALUES_MAX // 4)}, False),
        ({"a": [{"b": 0, "c": 0}] * (VALUES_MAX // 3 + 1)}, True),
    ],
)
def test_values_count_wherever_they_lie(variables: dict[str, object] | None, is_refused: bool) -> None:
    assert limit_of(variables) == (f"{VALUES_MAX} values" if is_refused else None)


def test_an_object_of_too_many_keys_is_refused() -> None:
    keys = {f"k{number}": 0 for number in range(KEYS_MAX)}
    assert limit_of({"a": [keys]}) is None
    assert limit_of({"a": [{**keys, "one more": 0}]}) == f"{KEYS_MAX} keys"


def test_a_million_values_in_one_request_are_refused_by_their_number(server: RunningServer) -> None:
    (error,) = server.ask(REFERENCES, r=[1] * 1_000_000)["errors"]
    assert error["extensions"] == {"code": "INVALID_INPUT", "limit": f"{VALUES_MAX} values"}
    limits = server.data("{ sessionManager { limits } }")["sessionManager"]["limits"]
    assert limits.items() >= VALUE_LIMITS.items()
