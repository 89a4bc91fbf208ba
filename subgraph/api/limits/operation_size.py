"""Owns how large an operation may be: how deep, of how many fields and aliases, with how many lists within lists.

A fragment counts wherever it is spread, as in execution, but is measured once. Nothing else looks at a document before
it has been measured: what is short to write and huge to validate or execute is refused as fast as it is read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from graphlib import CycleError, TopologicalSorter

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
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
    get_named_type,
    get_nullable_type,
    is_leaf_type,
)


@dataclass(frozen=True, slots=True)
class OperationSize:
    """How large an operation is, or a part of one.

    `nesting` counts selections within each other, those of fragments too; `depth` the fields that have some; `lists`
    those among them whose answer is a list: each multiplies what lies within it.
    """

    nesting: int = 0
    depth: int = 0
    fields: int = 0
    aliases: int = 0
    lists: int = 0


SIZE_MAX = OperationSize(nesting=100, depth=20, fields=5_000, aliases=200, lists=3)
OPERATION_LIMITS: Mapping[str, int] = {f"operation{name.capitalize()}": most for name, most in asdict(SIZE_MAX).items()}
"""What may be asked in one operation, by name and unit."""

_UNITS: Mapping[str, str] = {
    "nesting": "selections within each other (those of fragments counted)",
    "depth": "levels of depth",
    "fields": "fields (those of a fragment wherever it is spread)",
    "aliases": "aliases",
    "lists": "lists within each other",
}


_Selecting = OperationDefinitionNode | FragmentDefinitionNode | FieldNode | InlineFragmentNode


def size_errors(schema: GraphQLSchema, document: DocumentNode) -> list[GraphQLError]:
    """Why the first definition of a document that is too large is refused; none if no one is."""
    fragments = {one.name.value: one for one in document.definitions if isinstance(one, FragmentDefinitionNode)}
    try:
        # Each fragment after those that it spreads. Those that nothing spreads are measured, too: they are validated.
        order = tuple(TopologicalSorter({name: _spreads(one) for name, one in fragments.items()}).static_order())
    except CycleError as error:
        ring = error.args[1]
        why = f"Cannot spread fragment '{ring[0]}' within itself; {len(ring) - 1:,} spread each other in a ring."
        return [GraphQLError(why, fragments[ring[0]])]
    measuring = _Measuring(schema, {})
    for name in order:
        if fragment := fragments.get(name):
            size = measuring.size(fragment, schema.type_map.get(fragment.type_condition.name.value))
            if errors := _errors(size):
                return errors
            measuring.of_fragments[name] = size
    operations = (one for one in document.definitions if isinstance(one, OperationDefinitionNode))
    sizes = (measuring.size(one, schema.get_root_type(one.operation)) for one in operations)
    return next(filter(None, map(_errors, sizes)), [])


def _errors(size: OperationSize) -> list[GraphQLError]:
    return [
        GraphQLError(
            # Of fragments that double each other the number may be too long to be told.
            f"an operation has at most {most:,} {_UNITS[name]}, not {f'{count:,}' if count < 2**63 else 'far more'}",
            extensions={"code": "INVALID_INPUT", "limit": f"{most} {name}"},
        )
        for name, most in asdict(SIZE_MAX).items()
        if (count := getattr(size, name)) > most
    ]


@dataclass(frozen=True, slots=True)
class _Measuring:
    schema: GraphQLSchema
    of_fragments: dict[str, OperationSize]

    def size(self, node: _Selecting, owner: GraphQLNamedType | None) -> OperationSize:
        """How large what a node selects of a type is; None: of one that there is not, which another rule tells."""
        nesting = depth = fields = aliases = lists = 0
        for one in node.selection_set.selections if node.selection_set else ():
            part = self._part(one, owner)
            nesting, depth, lists = max(nesting, part.nesting), max(depth, part.depth), max(lists, part.lists)
            fields, aliases = fields + part.fields, aliases + part.aliases
        return OperationSize(nesting + 1 if node.selection_set else 0, depth, fields, aliases, lists)

    def _part(self, one: SelectionNode, owner: GraphQLNamedType | None) -> OperationSize:
        if isinstance(one, FragmentSpreadNode):
            return self.of_fragments.get(one.name.value, OperationSize())
        if isinstance(one, FieldNode):
            return self._field(one, owner)
        assert isinstance(one, InlineFragmentNode)
        condition = one.type_condition
        return self.size(one, self.schema.type_map.get(condition.name.value) if condition else owner)

    def _field(self, field: FieldNode, owner: GraphQLNamedType | None) -> OperationSize:
        name = field.name.value
        known = owner.fields.get(name) if isinstance(owner, GraphQLObjectType | GraphQLInterfaceType) else None
        within = self.size(field, get_named_type(known.type) if known else None)
        return replace(
            within,
            # How deep introspection goes, GraphQL's own rule bounds.
            depth=0 if name.startswith("__") or not field.selection_set else within.depth + 1,
            fields=within.fields + 1,
            aliases=within.aliases + bool(field.alias),
            lists=within.lists + bool(known and _multiplies(known)),
        )


def _spreads(fragment: FragmentDefinitionNode) -> set[str]:
    return set(_spreads_within(fragment.selection_set))


def _spreads_within(selections: SelectionSetNode) -> Iterator[str]:
    # The parser bounds how deep a definition is in itself, and so this recursion.
    for one in selections.selections:
        if isinstance(one, FragmentSpreadNode):
            yield one.name.value
        elif isinstance(one, FieldNode | InlineFragmentNode) and one.selection_set is not None:
            yield from _spreads_within(one.selection_set)


def _multiplies(field: GraphQLField) -> bool:
    """Whether it answers a list of things with parts. Labels and the like end there, and cost little."""
    answer = get_named_type(field.type)
    if not isinstance(get_nullable_type(field.type), GraphQLList) or is_leaf_type(answer):
        return False
    parts = answer.fields.values() if isinstance(answer, GraphQLObjectType) else ()
    return not parts or any(not is_leaf_type(get_named_type(part.type)) for part in parts)
