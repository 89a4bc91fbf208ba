"""Owns what every operation passes before it is executed: it is parsed and validated once, and counted each time.

Parsing and validation cost more than executing a small operation, and gateways repeat theirs word by word. So what is
known of a document is kept by its text.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from graphql import DocumentNode, GraphQLError, GraphQLSchema, parse, specified_rules
from strawberry.extensions import SchemaExtension
from strawberry.schema.schema import validate_document

from subgraph.api.operation_objects import OperationObjects
from subgraph.api.operation_size import TOKENS_MAX, OperationSizeRule

OPERATIONS_KEPT_MAX = 1_000
OPERATION_KEPT_LENGTH_MAX = 20_000
RULES = (*specified_rules, OperationSizeRule)


@dataclass(frozen=True, slots=True)
class Operations:
    """What is known of a document: why it is not valid, or what its operations ask for."""

    document: DocumentNode
    errors: list[GraphQLError]
    objects: OperationObjects | None


class Documents:
    """The documents that one schema is asked with."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept = lru_cache(OPERATIONS_KEPT_MAX)(self._read)

    def read(self, text: str) -> Operations:
        """What is known of a document, which is kept if it is not too long.

        Raises:
            GraphQLError: it has a syntax error, or too many tokens.
        """
        return self._read(text) if len(text) > OPERATION_KEPT_LENGTH_MAX else self._kept(text)

    def _read(self, text: str) -> Operations:
        document = parse(text, max_tokens=TOKENS_MAX)
        errors = validate_document(self._schema, document, RULES)
        return Operations(document, errors, None if errors else OperationObjects(self._schema, document))


class OperationChecks(SchemaExtension):
    """Refuses what is not valid, is too large, or asks for too much."""

    def __init__(self, documents: Callable[[], Documents], objects_max: int) -> None:
        self._documents = documents
        self._objects_max = objects_max
        self._operations: Operations | None = None

    def on_parse(self) -> Iterator[None]:
        """Give the document to execute."""
        context = self.execution_context
        # A syntax error goes no way out from here: Strawberry parses once more then, and tells it.
        with contextlib.suppress(GraphQLError):
            self._operations = self._documents().read(context.query or "")
            context.graphql_document = self._operations.document
        yield

    def on_validate(self) -> Iterator[None]:
        """Refuse it, or let it pass."""
        context, operations = self.execution_context, self._operations
        assert operations is not None
        context.pre_execution_errors = operations.errors
        if operations.objects is not None:
            refusal = operations.objects.refusal(context.operation_name, context.variables, self._objects_max)
            if refusal is not None:
                context.pre_execution_errors = [refusal]
        yield
