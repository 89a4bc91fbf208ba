"""Owns a walk over the schema for tests: every leaf of every argument, and an operation with a value there."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLField,
    GraphQLInputField,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_enum_type,
    is_input_object_type,
    is_interface_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
    is_required_argument,
    is_required_input_field,
)

SELECTION_DEPTH_MAX = 3

Argument = GraphQLArgument | GraphQLInputField


@dataclass(frozen=True)
class Leaf:
    """A leaf of a root field's arguments. `key`: the input type (or root field) and its field; `path`: from outside."""

    root: str
    field: str
    key: str
    path: tuple[str, ...]
    type_name: str

    @property
    def name(self) -> str:
        return f"{self.root}.{self.field}({'.'.join(self.path)})"


def leaves_of(schema: GraphQLSchema) -> Iterator[Leaf]:
    """Every leaf of every root field's arguments, but of those that gateways ask."""
    for root in (schema.query_type, schema.mutation_type, schema.subscription_type):
        assert root is not None
        for name, field in root.fields.items():
            if not name.startswith("_"):
                for key, path, type_name in _leaves(f"{root.name}.{name}", field.args, ()):
                    yield Leaf(root.name, name, key, path, type_name)


def _leaves(
    owner: str, fields: Mapping[str, Argument], above: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    for name, one in fields.items():
        named = get_named_type(one.type)
        if is_input_object_type(named):
            yield from _leaves(named.name, named.fields, (*above, name))
        else:
            yield f"{owner}.{name}", (*above, name), named.name


def operation(schema: GraphQLSchema, leaf: Leaf, value: str, samples: Mapping[str, Any]) -> dict[str, Any]:
    """A request of the leaf's root field with the value there, what is required besides from samples, all selected.

    Args:
        schema: the schema.
        leaf: where the value goes.
        value: the value.
        samples: by `Owner.field` or by type: what is given for it; by `Owner`: more of its fields than are required.
    """
    field = _root(schema, leaf.root).fields[leaf.field]
    given = _filled(f"{leaf.root}.{leaf.field}", field.args, leaf.path, value, samples)
    declared = ", ".join(f"${name}: {field.args[name].type}" for name in given)
    passed = ", ".join(f"{name}: ${name}" for name in given)
    head = f"{leaf.root.lower()} ({declared})" if given else leaf.root.lower()
    chosen = selection(schema, field, SELECTION_DEPTH_MAX)
    return {"query": f"{head} {{ {leaf.field}{f'({passed})' if given else ''} {chosen} }}", "variables": given}


def _root(schema: GraphQLSchema, name: str) -> GraphQLObjectType:
    root = schema.type_map[name]
    assert isinstance(root, GraphQLObjectType)
    return root


def _filled(
    owner: str, fields: Mapping[str, Argument], path: tuple[str, ...], value: str, samples: Mapping[str, Any]
) -> dict[str, Any]:
    given: dict[str, Any] = dict(samples.get(owner, {}))
    for name, one in fields.items():
        named = get_named_type(one.type)
        if path and name == path[0]:
            given[name] = (
                _filled(named.name, named.fields, path[1:], value, samples) if is_input_object_type(named) else value
            )
            if is_list_type(one.type) or (is_non_null_type(one.type) and is_list_type(one.type.of_type)):
                given[name] = [given[name]]
        elif _is_required(one) and name not in given:
            given[name] = _sample(owner, name, one, samples)
    return given


def _is_required(one: Argument) -> bool:
    return is_required_argument(one) if isinstance(one, GraphQLArgument) else is_required_input_field(one)


def _sample(owner: str, name: str, one: Argument, samples: Mapping[str, Any]) -> Any:
    named = get_named_type(one.type)
    for key in (f"{owner}.{name}", named.name):
        if key in samples:
            return samples[key]
    if is_enum_type(named):
        return next(iter(named.values))
    if is_input_object_type(named):
        return _filled(named.name, named.fields, (), "", samples)
    raise KeyError(f"{owner}.{name}: {one.type} is required, and there is no sample of it")


def _is_leaf(field: GraphQLField) -> bool:
    return is_leaf_type(get_named_type(field.type))


def selection(schema: GraphQLSchema, field: GraphQLField, depth: int) -> str:
    """All of a field's type that needs no arguments, down to a depth."""
    named = get_named_type(field.type)
    if is_leaf_type(named):
        return ""
    assert isinstance(named, GraphQLObjectType) or is_interface_type(named)
    parts = ["__typename"]
    for name, one in named.fields.items():
        inner = get_named_type(one.type)
        if any(is_required_argument(argument) for argument in one.args.values()):
            continue
        if is_leaf_type(inner):
            parts.append(name)
        elif depth > 1:
            parts.append(f"{name} {selection(schema, one, depth - 1)}")
    if is_interface_type(named):
        for possible in schema.get_possible_types(named):
            further = {name: one for name, one in possible.fields.items() if name not in named.fields}
            # Types disagree on whether their own fields may be null, so each goes by a name of its own.
            own = [f"{possible.name}_{name}: {name}" for name, one in further.items() if _is_leaf(one)]
            parts.append(f"... on {possible.name} {{ __typename {' '.join(own)} }}")
    return f"{{ {' '.join(parts)} }}"
