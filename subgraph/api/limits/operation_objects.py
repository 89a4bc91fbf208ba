"""Owns how many objects an operation may ask for: lists within lists multiply, what stands side by side adds up.

Counted is what the answer could hold, by `first`, its default or its variable, and by how many references `_entities`
is given. So it is known before anything is loaded; the answer may hold less.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLError,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLList,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
)

from subgraph.api.limits.operation_counts import COUNTS, NOT_GIVEN, count_of_literal, count_of_value, counting_variables

UNPAGED = 10
"""How many a list is taken to have that is not asked for by number: a tile's neighbors, a payload's errors."""
BATCHES: Mapping[str, int] = dict.fromkeys(
    (
        "TilesPayload.tiles",
        "RegisterPodPayload.assignments",
        "AcknowledgeAssignmentsPayload.assignments",
        "PodAssignmentChange.assignments",
        "TileChangeBatch.tiles",
        "TileRouteBatch.routes",
        "RebalancePlan.splits",
        "RebalancePlan.merges",
    ),
    100,
)
"""Such lists that are often longer, and how many these are taken to have."""

Counts = tuple[int | None, ...]
"""What the variables say that count, in the order of their names; None: null. NOT_GIVEN: that one is not sent."""
_COUNTED_AT_ONCE_MAX = 100
"""Counts that are remembered for one document."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The objects that a selection asks for: at once, and for each entry of the page that it selects from."""

    once: int = 0
    each: int = 0
    lists: tuple[str, ...] = ()
    """The lists that lie within each other where most is asked for, with their numbers."""


class OperationObjects:
    """The objects that the operations of one valid document ask for."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        parts = document.definitions
        self._operations = [one for one in parts if isinstance(one, OperationDefinitionNode)]
        self._fragments = {one.name.value: one for one in parts if isinstance(one, FragmentDefinitionNode)}
        self._paged = _paged_types(schema)
        self._counting = counting_variables(document)
        # Most documents are asked with the same numbers again and again.
        self._asked_by = lru_cache(_COUNTED_AT_ONCE_MAX)(self._asked)

    def refusal(
        self, operation_name: str | None, variables: Mapping[str, object] | None, objects_max: int
    ) -> GraphQLError | None:
        """Why an operation is refused with these variables, as they were sent; None if it asks for few enough."""
        given = variables or {}
        counts = tuple(count_of_value(given[name]) if name in given else NOT_GIVEN for name in self._counting)
        asked = self._asked_by(operation_name, counts)
        if asked.once <= objects_max:
            return None
        return GraphQLError(
            f"an operation asks for at most {objects_max:,} objects, not {asked.once:,}; "
            f"most of them in {' × '.join(asked.lists)}",
            extensions={"code": "INVALID_INPUT", "limit": f"{objects_max} objects"},
        )

    def _asked(self, operation_name: str | None, counts: Counts) -> _Asked:
        named = (one for one in self._operations if operation_name in (None, one.name and one.name.value))
        operation = next(named, None)
        if operation is None:
            return _Asked()  # GraphQL tells it
        given = dict(zip(self._counting, counts, strict=True))
        defaults = {
            one.variable.name.value: None if one.default_value is None else count_of_literal(one.default_value)
            for one in operation.variable_definitions or ()
        }
        known = {name: defaults.get(name) if count == NOT_GIVEN else count for name, count in given.items()}
        counting = _Counting(self._schema, self._fragments, self._paged, known)
        return counting.of_selection(operation.selection_set, self._schema.get_root_type(operation.operation))


class _Counting:
    """One count of one operation; each fragment is counted once."""

    def __init__(
        self,
        schema: GraphQLSchema,
        fragments: Mapping[str, FragmentDefinitionNode],
        paged: frozenset[str],
        variables: Mapping[str, int | None],
    ) -> None:
        self._schema = schema
        self._fragments = fragments
        self._paged = paged
        self._variables = variables
        self._of_fragments: dict[str, _Asked] = {}

    def of_selection(self, selections: SelectionSetNode, owner: GraphQLNamedType | None) -> _Asked:
        once = each = most = 0
        lists: tuple[str, ...] = ()
        for one in selections.selections:
            part = self._part(one, owner)
            once, each = once + part.once, each + part.each
            if part.once + part.each > most:
                most, lists = part.once + part.each, part.lists
        return _Asked(once, each, lists)

    def _part(self, one: SelectionNode, owner: GraphQLNamedType | None) -> _Asked:
        if isinstance(one, FieldNode):
            return self._field(one, owner)
        if isinstance(one, FragmentSpreadNode):
            name = one.name.value
            if name not in self._of_fragments:
                fragment = self._fragments[name]
                on = self._schema.type_map[fragment.type_condition.name.value]
                self._of_fragments[name] = self.of_selection(fragment.selection_set, on)
            return self._of_fragments[name]
        assert isinstance(one, InlineFragmentNode)
        condition = one.type_condition
        return self.of_selection(one.selection_set, self._schema.type_map[condition.name.value] if condition else owner)

    def _field(self, field: FieldNode, owner: GraphQLNamedType | None) -> _Asked:
        name = field.name.value
        known = owner.fields.get(name) if isinstance(owner, GraphQLObjectType | GraphQLInterfaceType) else None
        # What a schema says of itself GraphQL's own rule bounds, and what has no parts is no object.
        if owner is None or known is None or field.selection_set is None:
            return _Asked()
        within = self.of_selection(field.selection_set, get_named_type(known.type))
        count = self._count(field, known)
        if not _is_list(known):
            # The entries of a page are in a list of its own, the number is told here.
            times = UNPAGED if count is None else count
            lists = within.lists if count is None else (f"{name}({count:,})", *within.lists)
            return _Asked(1 + within.once + times * within.each, 0, lists)
        entry = 1 + within.once + UNPAGED * within.each
        if count is None and owner.name in self._paged:
            return _Asked(0, entry, within.lists)
        times = BATCHES.get(f"{owner.name}.{name}", UNPAGED) if count is None else count
        return _Asked(times * entry, 0, (f"{name}({times:,})", *within.lists))

    def _count(self, field: FieldNode, known: GraphQLField) -> int | None:
        for name, most in COUNTS.items():
            if name in known.args:
                given = next((one.value for one in field.arguments or () if one.name.value == name), None)
                return max(0, min(self._value(given, known.args[name]), most))
        return None

    def _value(self, given: ValueNode | None, argument: GraphQLArgument) -> int:
        if isinstance(given, VariableNode):
            count = self._variables[given.name.value]
        else:
            count = None if given is None else count_of_literal(given)
        # What is null is the same as what is not there: both leave the field its default.
        return (count_of_value(argument.default_value) or 0) if count is None else count


@lru_cache(maxsize=8)
def _paged_types(schema: GraphQLSchema) -> frozenset[str]:
    """The types whose lists are as long as the field says that leads to them: connections, and the like."""
    return frozenset(
        get_named_type(field.type).name
        for owner in schema.type_map.values()
        if isinstance(owner, GraphQLObjectType)
        for field in owner.fields.values()
        if not COUNTS.keys().isdisjoint(field.args) and not _is_list(field)
    )


def _is_list(field: GraphQLField) -> bool:
    return isinstance(get_nullable_type(field.type), GraphQLList)
