"""Owns the switch of session management: while it is off, every mutation says so, and nothing can be followed.

What there is can still be read. It is enforced here for all fields at once, whatever they do.
"""

from typing import Any

from graphql import GraphQLField, GraphQLSchema
from strawberry.schema.schema_converter import GraphQLCoreConverter

from subgraph.api.errors import to_error
from subgraph.domain.errors import Disabled

_BACKREF = GraphQLCoreConverter.DEFINITION_BACKREF


def enforce_switch(schema: GraphQLSchema) -> None:
    """Have every mutation and subscription ask whether session management is on; changes the schema in place."""
    assert schema.mutation_type is not None
    assert schema.subscription_type is not None
    for field in schema.mutation_type.fields.values():
        _guard_mutation(field)
    for field in schema.subscription_type.fields.values():
        _guard_subscription(field)


def _guard_mutation(field: GraphQLField) -> None:
    resolve = field.resolve
    assert resolve is not None
    payload: Any = field.extensions[_BACKREF].type

    def guarded(source: Any, info: Any, **arguments: Any) -> Any:
        if info.context.services.about.enabled:
            return resolve(source, info, **arguments)
        return payload(errors=[to_error(Disabled())])

    field.resolve = guarded


def _guard_subscription(field: GraphQLField) -> None:
    subscribe = field.subscribe
    assert subscribe is not None

    def guarded(source: Any, info: Any, **arguments: Any) -> Any:
        if not info.context.services.about.enabled:
            raise Disabled
        return subscribe(source, info, **arguments)

    field.subscribe = guarded
