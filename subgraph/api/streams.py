"""Owns that what can be followed comes as a stream: asked for like a query, by plain HTTP, it says how to follow it."""

from typing import Any

from graphql import GraphQLField, GraphQLSchema

from subgraph.domain.errors import InvalidInput


def enforce_streams(schema: GraphQLSchema) -> None:
    """Have every subscription refuse to be answered once; changes the schema in place."""
    assert schema.subscription_type is not None
    for name, field in schema.subscription_type.fields.items():
        _guard(name, field)


def _guard(name: str, field: GraphQLField) -> None:
    resolve = field.resolve
    assert resolve is not None

    def guarded(event: Any, info: Any, **arguments: Any) -> Any:
        # What a stream brings is an event; only a plain request has none.
        if event is None:
            raise InvalidInput(f"{name} is a stream: follow it over a WebSocket")
        return resolve(event, info, **arguments)

    field.resolve = guarded
