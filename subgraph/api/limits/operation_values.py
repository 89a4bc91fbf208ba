"""Owns how many values the variables of an operation may hold: each is looked at, one by one, before it is executed."""

from collections.abc import Mapping

from graphql import GraphQLError

VALUES_MAX = 200_000
"""Values, those within others counted. The largest input, the tiles that a pod held, is less within a body's size."""
KEYS_MAX = 40_000
"""Keys of one object: what is wrong with it is told with all of it. The largest context has fewer."""
VALUE_LIMITS: Mapping[str, int] = {"variableValues": VALUES_MAX, "variableKeys": KEYS_MAX}
"""How large variables may be, by name and unit."""


def values_refusal(variables: Mapping[str, object] | None) -> GraphQLError | None:
    """Why an operation is refused with these variables, as they were sent; None if they hold few enough values."""
    count = 0
    waiting: list[object] = [variables]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict) and len(one) > KEYS_MAX:
            return _refusal(f"an object in the variables has at most {KEYS_MAX:,} keys, not {len(one):,}", "keys")
        within = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        count += len(within)
        if count > VALUES_MAX:
            return _refusal(f"the variables of an operation hold at most {VALUES_MAX:,} values", "values")
        waiting.extend(each for each in within if isinstance(each, dict | list))
    return None


def _refusal(why: str, unit: str) -> GraphQLError:
    most = VALUE_LIMITS[f"variable{unit.capitalize()}"]
    return GraphQLError(why, extensions={"code": "INVALID_INPUT", "limit": f"{most} {unit}"})
