"""Owns what every operation passes before it is executed: its document is read once, and it is counted each time."""

from collections.abc import Callable, Iterator

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    NameNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
)
from strawberry.extensions import SchemaExtension

from subgraph.api.limits.operation_documents import Documents, Operations
from subgraph.api.limits.operation_values import values_refusal
from subgraph.api.request_errors import OPERATION_UNRESOLVED


class OperationChecks(SchemaExtension):
    """Refuses what is not valid, is too large, or asks for too much."""

    def __init__(self, documents: Callable[[], Documents], objects_max: int) -> None:
        self._documents = documents
        self._objects_max = objects_max
        self._operations: Operations | None = None
        self._name: str | None = None

    def on_parse(self) -> Iterator[None]:
        """Give the document to execute."""
        context = self.execution_context
        # As long as there is no document; from then on, without a name it is that of the first operation.
        self._name = context.operation_name
        self._operations = self._documents().read(context.query or "")
        context.graphql_document = self._operations.document or _stand_in(context.operation_name)
        yield

    def on_validate(self) -> Iterator[None]:
        """Refuse it, or let it pass."""
        context, operations = self.execution_context, self._operations
        assert operations is not None
        context.pre_execution_errors = operations.errors
        if operations.objects is not None:
            refusal = (
                _unnamed(operations, self._name)
                or values_refusal(context.variables)
                or operations.objects.refusal(context.operation_name, context.variables, self._objects_max)
            )
            if refusal is not None:
                context.pre_execution_errors = [refusal]
        yield


def _unnamed(operations: Operations, name: str | None) -> GraphQLError | None:
    """Why nothing is executed of a document of several operations, none of which is named: the first is no choice."""
    parts = operations.document.definitions if operations.document and name is None else ()
    if sum(isinstance(one, OperationDefinitionNode) for one in parts) < 2:
        return None
    why = "Must provide operation name if query contains multiple operations."
    return GraphQLError(why, extensions={"code": OPERATION_UNRESOLVED})


def _stand_in(name: str | None) -> DocumentNode:
    """What is refused in place of a text that is no document; without any, Strawberry would parse the text itself."""
    nothing = SelectionSetNode(selections=(FieldNode(name=NameNode(value="__typename")),))
    named = None if name is None else NameNode(value=name)
    operation = OperationDefinitionNode(operation=OperationType.QUERY, name=named, selection_set=nothing)
    return DocumentNode(definitions=(operation,))
