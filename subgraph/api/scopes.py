"""Owns which scopes a field needs: said at the field, enforced here and nowhere else, told in its description.

Every field of Query, Mutation and Subscription says what it needs, or there is no schema. Whose session or tile it is
about is another question, which the operations answer: what a caller may not see does not exist for it.
"""

from collections.abc import Callable, Iterator
from copy import copy
from typing import Any, TypeVar

from graphql import GraphQLField, GraphQLObjectType, GraphQLSchema
from strawberry.federation.schema_directives import Authenticated, RequiresScopes
from strawberry.schema.schema_converter import GraphQLCoreConverter

from subgraph.api.errors import to_error
from subgraph.domain.access import Caller, Scope, scopes_granting
from subgraph.domain.errors import NotAllowed

F = TypeVar("F", bound=Callable[..., Any])

_BACKREF = GraphQLCoreConverter.DEFINITION_BACKREF
_ATTRIBUTE = "needed_scopes"
_OF_FEDERATION = ("_service", "_entities")
"""Root fields that gateways ask: the SDL is no secret, and an entity needs what its type does (`api/entities.py`)."""


class ScopeMissing(Exception):
    """A root field that does not say what it needs: there is no schema with it."""


def needs(*any_of: Scope) -> Callable[[F], F]:
    """Have a resolver's field require one of these scopes; without any, any authenticated caller may read it."""

    def mark(resolver: F) -> F:
        setattr(resolver, _ATTRIBUTE, any_of)
        return resolver

    return mark


def refusal(caller: Caller, any_of: tuple[Scope, ...]) -> NotAllowed | None:
    """Why a caller may not have what needs one of these scopes; None if it may."""
    if not any_of or any(caller.has(scope) for scope in any_of):
        return None
    return NotAllowed(any_of[0])


def needed_scopes(field: GraphQLField) -> tuple[Scope, ...] | None:
    """The scopes any one of which a field needs; None where it says nothing."""
    definition = field.extensions.get(_BACKREF)
    resolver = getattr(definition, "base_resolver", None)
    return getattr(resolver.wrapped_func, _ATTRIBUTE, None) if resolver is not None else None


def enforce_scopes(schema: GraphQLSchema, *, directives: bool) -> None:
    """Have every field ask for the scopes it needs before it resolves, and tell them in its description.

    Args:
        schema: the schema, changed in place.
        directives: whether they are printed as federation directives, too. Apollo Gateway refuses these.

    Raises:
        ScopeMissing: a root field does not say what it needs.
    """
    for owner, name, field in _fields(schema):
        any_of = needed_scopes(field)
        if any_of is None:
            if owner in (schema.query_type, schema.mutation_type, schema.subscription_type) and name not in (
                _OF_FEDERATION
            ):
                raise ScopeMissing(f"{owner.name}.{name} does not say which scopes it needs: mark it with @needs(…)")
            continue
        if any_of:
            field.description = f"{field.description} Requires {' or '.join(any_of)}."
            _guard(field, any_of, is_mutation=owner is schema.mutation_type)
        if directives:
            definition = copy(field.extensions[_BACKREF])
            definition.directives = [*definition.directives, scope_directive(any_of)]
            field.extensions = {**field.extensions, _BACKREF: definition}


def scope_directive(any_of: tuple[Scope, ...]) -> object:
    """What a field needs as gateways read it: one of the inner lists, all of its scopes."""
    if not any_of:
        return Authenticated()
    granting = dict.fromkeys(scope for wanted in any_of for scope in scopes_granting(wanted))
    return RequiresScopes(scopes=[[scope.value] for scope in granting])


def _fields(schema: GraphQLSchema) -> Iterator[tuple[GraphQLObjectType, str, GraphQLField]]:
    for owner in schema.type_map.values():
        if isinstance(owner, GraphQLObjectType) and not owner.name.startswith("__"):
            for name, field in owner.fields.items():
                yield owner, name, field


def _guard(field: GraphQLField, any_of: tuple[Scope, ...], *, is_mutation: bool) -> None:
    resolve = field.resolve
    assert resolve is not None
    payload: Any = field.extensions[_BACKREF].type

    def guarded(source: Any, info: Any, **arguments: Any) -> Any:
        refused = refusal(info.context.caller, any_of)
        if refused is None:
            return resolve(source, info, **arguments)
        if is_mutation:
            return payload(errors=[to_error(refused)])
        raise refused

    if field.subscribe is not None:
        subscribe = field.subscribe

        def guarded_stream(source: Any, info: Any, **arguments: Any) -> Any:
            refused = refusal(info.context.caller, any_of)
            if refused is not None:
                raise refused
            return subscribe(source, info, **arguments)

        field.subscribe = guarded_stream
    else:
        field.resolve = guarded
