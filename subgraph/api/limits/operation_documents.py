"""Owns what a document costs to read: how long it may be, in which order it is checked, and what is kept of it.

Parsing and validation happen on the event loop and cost more than executing a small operation. So every step is
bounded before it is taken, the cheaper steps come first, and the outcome is kept by the text: gateways repeat theirs
word by word.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from graphql import DocumentNode, GraphQLError, GraphQLSchema, parse, specified_rules, validate
from graphql.validation.rules import overlapping_fields_can_be_merged
from graphql.validation.validate import ValidationAbortedError
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from subgraph.api.limits.operation_objects import OperationObjects
from subgraph.api.limits.operation_size import OPERATION_LIMITS, size_errors
from subgraph.api.request_errors import PARSE_FAILED, VALIDATION_FAILED, coded

DOCUMENTS_KEPT_MAX = 1_000
DOCUMENT_KEPT_LENGTH_MAX = 20_000

LENGTH_MAX = 100_000
"""Characters: spaces, comments and texts cost time, too, and are few tokens."""
TOKENS_MAX = 5_000
COMPARISONS_MAX = 20_000
"""Steps. Fields of one response name, and fragments, are compared in pairs: of few of these there are many."""
ERRORS_MAX = 5
"""Errors of one document that are told: each may show much of it."""
DOCUMENT_LIMITS: Mapping[str, int] = {
    "operationCharacters": LENGTH_MAX,
    "operationTokens": TOKENS_MAX,
    "operationComparisons": COMPARISONS_MAX,
    **OPERATION_LIMITS,
}
"""How large a document may be, by name and unit."""

_RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
# This is how the library wants to be told; its own bound is 25 times as high, which is more than a second.
overlapping_fields_can_be_merged.MAX_COMPLEXITY_BUDGET = COMPARISONS_MAX


@dataclass(frozen=True, slots=True)
class Operations:
    """What is known of a document: why it is refused, or what its operations ask for; without a syntax, no document."""

    document: DocumentNode | None
    errors: list[GraphQLError]
    objects: OperationObjects | None = None


class Documents:
    """The documents that one schema is asked with."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._kept = lru_cache(DOCUMENTS_KEPT_MAX)(self._read)

    def read(self, text: str) -> Operations:
        """What is known of a document, which is kept if it is not too long."""
        return self._read(text) if len(text) > DOCUMENT_KEPT_LENGTH_MAX else self._kept(text)

    def _read(self, text: str) -> Operations:
        if len(text) > LENGTH_MAX:
            why = f"a document has at most {LENGTH_MAX:,} characters, not {len(text):,}: send long values as variables"
            return Operations(None, [_refusal(why, f"{LENGTH_MAX} characters")])
        try:
            document = parse(text, max_tokens=TOKENS_MAX)
        except GraphQLError as error:
            if f"more than {TOKENS_MAX} tokens" in error.message:
                return Operations(None, [_refusal(error.message, f"{TOKENS_MAX} tokens")])
            return Operations(None, coded([error], PARSE_FAILED))
        errors = coded(size_errors(self._schema, document) or self._invalid(document), VALIDATION_FAILED)
        return Operations(document, errors, None if errors else OperationObjects(self._schema, document))

    def _invalid(self, document: DocumentNode) -> list[GraphQLError]:
        errors = validate(self._schema, document, _RULES, max_errors=ERRORS_MAX)
        if not errors or not isinstance(errors[-1], ValidationAbortedError):
            return errors
        if len(errors) > ERRORS_MAX:
            return [
                *errors[:-1],
                _refusal(f"of more than {ERRORS_MAX} errors no more are told", f"{ERRORS_MAX} errors"),
            ]
        why = (
            f"fields of one response name, and fragments, take more than {COMPARISONS_MAX:,} steps to compare: "
            "repeat fewer of them in one selection"
        )
        return [*errors[:-1], _refusal(why, f"{COMPARISONS_MAX} comparisons")]


def _refusal(why: str, limit: str) -> GraphQLError:
    return GraphQLError(why, extensions={"code": "INVALID_INPUT", "limit": limit})
