"""Owns the schema: which types make it up, which rules every operation passes, and how its SDL is printed."""

import logging
from collections.abc import Iterator
from typing import Any

import strawberry
from graphql import GraphQLError
from strawberry.extensions import SchemaExtension
from strawberry.federation.schema import FederationAny
from strawberry.schema.config import StrawberryConfig
from strawberry.schema.exceptions import CannotGetOperationTypeError

from subgraph.api.context import Info
from subgraph.api.descriptions import describe_inputs
from subgraph.api.entities import resolve_entities
from subgraph.api.errors import ERROR_TYPES, to_graphql_error
from subgraph.api.execution import ExecutionInTurns
from subgraph.api.limits.operation_checks import OperationChecks
from subgraph.api.limits.operation_documents import Documents
from subgraph.api.mutations import Mutation
from subgraph.api.queries import Query
from subgraph.api.request_errors import INTERNAL, code_of_own, coded
from subgraph.api.scalars import SCALARS
from subgraph.api.scopes import enforce_scopes, scope_directive
from subgraph.api.streams import enforce_streams
from subgraph.api.subscriptions import Subscription
from subgraph.api.switch import enforce_switch
from subgraph.domain.access import Scope
from subgraph.domain.errors import SessionManagerFailure
from subgraph.operations.about import OPERATION_OBJECTS_MAX
from subgraph.operations.journal.journal import JournalPutBack
from subgraph.operations.ports import SlowConsumer

logger = logging.getLogger(__name__)


class _ToldErrors(SchemaExtension):
    """Shows expected failures with their codes, the client's own errors with theirs, and hides the unexpected."""

    def on_operation(self) -> Iterator[None]:
        """Translate the errors of a query or mutation."""
        yield
        _tell_errors(self.execution_context.result)

    def on_stream_result(self, result: object) -> Iterator[None]:
        """Translate the errors of one result of a subscription."""
        _tell_errors(result)
        yield


def _tell_errors(result: Any) -> None:
    if getattr(result, "errors", None):
        result.errors = [_told(error) for error in result.errors]


def _told(error: GraphQLError) -> GraphQLError:
    original = error.original_error
    if original is None or isinstance(original, GraphQLError | CannotGetOperationTypeError):
        return error if error.extensions and "code" in error.extensions else coded([error], code_of_own(error))[0]
    if isinstance(original, SessionManagerFailure):
        told = to_graphql_error(original)
    elif isinstance(original, SlowConsumer):
        resume = {} if original.after is None else {"after": original.after}
        told = GraphQLError(str(original), extensions={"code": "SLOW_CONSUMER", **resume})
    elif isinstance(original, JournalPutBack):
        told = GraphQLError(str(original), extensions={"code": "JOURNAL_PUT_BACK"})
    else:
        logger.error("an operation failed unexpectedly", exc_info=original)
        told = GraphQLError("Unexpected error.", extensions={"code": INTERNAL})
    return GraphQLError(told.message, nodes=error.nodes, path=error.path, extensions=told.extensions)


class Schema(strawberry.federation.Schema):
    """The federated schema, with this project's entity resolution in place of Strawberry's, and scopes enforced."""

    def __init__(self, *, scope_directives: bool, **parts: Any) -> None:
        self._scope_directives = scope_directives
        super().__init__(**parts)
        enforce_scopes(self._schema, directives=scope_directives)
        enforce_switch(self._schema)
        enforce_streams(self._schema)
        describe_inputs(self._schema)
        self.documents = Documents(self._schema)

    @property
    def schema_directives_in_use(self) -> list[object]:
        """What the SDL imports; Strawberry asks for it before there are fields to say so."""
        of_scopes = [scope_directive(()), scope_directive((Scope.ADMIN,))] if self._scope_directives else []
        return [*super().schema_directives_in_use, *of_scopes]

    async def entities_resolver(  # type: ignore[override]  # ours is asynchronous, which GraphQL allows
        self, info: Info, representations: list[FederationAny]
    ) -> list[FederationAny]:
        """Resolve references in batched loads per type."""
        return await resolve_entities(info, representations)

    def process_errors(self, errors: list[GraphQLError], execution_context: Any = None) -> None:
        """Log nothing here: expected failures are the client's to read, and the rest is logged where it is hidden."""


def make_schema(*, scope_directives: bool = False, objects_max: int = OPERATION_OBJECTS_MAX) -> Schema:
    """The schema of this subgraph.

    Args:
        scope_directives: whether the SDL tells gateways the scopes that fields need. Apollo Gateway refuses that.
        objects_max: how many objects an operation may ask for.
    """
    schema = Schema(
        scope_directives=scope_directives,
        query=Query,
        mutation=Mutation,
        subscription=Subscription,
        types=ERROR_TYPES,
        execution_context_class=ExecutionInTurns,
        federation_version="2.9",  # The Guild's composer refuses later ones
        config=StrawberryConfig(scalar_map=dict(SCALARS)),
        extensions=[
            lambda: OperationChecks(lambda: schema.documents, objects_max),
            _ToldErrors,
        ],
    )
    return schema


def print_sdl(*, scope_directives: bool = False) -> str:
    """The SDL that gateways compose; without directives for scopes it is what `schema.graphql` holds."""
    return make_schema(scope_directives=scope_directives).as_str() + "\n"
