"""Owns how many things an operation asks for by number: what arguments that count say, as literals and as variables."""

from collections.abc import Mapping

from graphql import (
    ArgumentNode,
    DocumentNode,
    IntValueNode,
    ListValueNode,
    NullValueNode,
    ObjectValueNode,
    ValueNode,
    VariableNode,
    Visitor,
    visit,
)

from subgraph.api.arguments import TILES_PAGE_SIZE_MAX
from subgraph.api.entities import REPRESENTATIONS_MAX

COUNTS: Mapping[str, int] = {"first": TILES_PAGE_SIZE_MAX, "representations": REPRESENTATIONS_MAX}
"""The arguments that say how many, with the most that any field takes: what is more, the field refuses by itself."""


NOT_GIVEN = -1
"""In place of a count: a variable that is not among those sent, so that its own default stands."""


def count_of_value(value: object) -> int | None:
    """How many a variable or a default asks for; None: it is null, so the field's default stands.

    What is no number or list is none, and is refused as such later.
    """
    match value:
        case None:
            return None
        case bool():
            return 0
        case int():
            return max(0, value)
        case float() if value.is_integer():
            return max(0, int(value))
        case list():
            return len(value)
        case dict():
            return 1  # GraphQL takes it as a list of one
        case _:
            return 0


def count_of_literal(value: ValueNode) -> int | None:
    """How many a literal asks for; None: it is null, so the field's default stands."""
    match value:
        case NullValueNode():
            return None
        case IntValueNode():
            return int(value.value)
        case ListValueNode():
            return len(value.values)
        case ObjectValueNode():
            return 1
        case _:
            return 0


def counting_variables(document: DocumentNode) -> tuple[str, ...]:
    """The names of the variables that say how many, in any operation of a document."""
    found = _CountingVariables()
    visit(document, found)
    return tuple(sorted(found.names))


class _CountingVariables(Visitor):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def enter_argument(self, argument: ArgumentNode, *_: object) -> None:
        if argument.name.value in COUNTS and isinstance(argument.value, VariableNode):
            self.names.add(argument.value.name.value)
