"""Owns the codes of what GraphQL itself refuses. The names are Apollo Server's, which clients know already."""

import logging
from collections.abc import Iterable

from graphql import FieldNode, GraphQLError
from strawberry.schema.exceptions import CannotGetOperationTypeError

logger = logging.getLogger(__name__)

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
OPERATION_UNRESOLVED = "OPERATION_RESOLUTION_FAILURE"
BAD_USER_INPUT = "BAD_USER_INPUT"
BAD_REQUEST = "BAD_REQUEST"
INTERNAL = "INTERNAL"

REQUEST_CODES = frozenset({PARSE_FAILED, VALIDATION_FAILED, OPERATION_UNRESOLVED, BAD_USER_INPUT, BAD_REQUEST})
"""Codes of requests that come to no execution, or to none of the field that a value was for."""


def coded(errors: Iterable[GraphQLError], code: str) -> list[GraphQLError]:
    """The errors, with this code where they have none."""
    told = list(errors)
    for error in told:
        error.extensions = {"code": code, **(error.extensions or {})}
    return told


def code_of_own(error: GraphQLError) -> str:
    """The code of an error that graphql-core has raised while it resolved an operation, its variables or a field."""
    if isinstance(error.original_error, CannotGetOperationTypeError):
        return OPERATION_UNRESOLVED
    if error.path is None or not all(isinstance(node, FieldNode) for node in error.nodes or ()):
        return BAD_USER_INPUT  # a variable, or an argument of a field
    # What is left are values that a field gives and that are not of its type.
    logger.error("a field's value is not of its type: %s", error)
    return INTERNAL


def is_request_error(data: object, errors: Iterable[GraphQLError] | None) -> bool:
    """Whether nothing was executed: what a field refuses has a path, even where nothing is left of all data."""
    return data is None and any(error.path is None for error in errors or ())
