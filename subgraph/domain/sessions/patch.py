"""Owns what a caller may ask to change of a session, and within which limits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from subgraph.domain.errors import InvalidInput
from subgraph.domain.expiry import check_ttl
from subgraph.domain.labels import REQUIRED_LABELS_MAX, Labels, check_labels
from subgraph.domain.new_session import (
    CONTEXT_BYTES_MAX,
    DETAILS_MAX,
    METADATA_BYTES_MAX,
    check_details,
    check_json,
    check_max_history,
    check_text,
    check_token_budget,
    check_utc_offset,
    check_version,
)

REMOVED_DETAILS_MAX = DETAILS_MAX
REMOVED_FIELDS_MAX = 100
REMOVED_CONTEXT_MAX = 10_000
EXTEND_TTL_PATH = ("extendTtl",)


class RemovableField(StrEnum):
    """A field that a session need not have, by the name of what is given for it."""

    EXTERNAL_ID = "externalId"
    DATA_SOURCE = "dataSource"
    TOKEN_BUDGET = "tokenBudget"
    TICK_INTERVAL = "tickInterval"


@dataclass(frozen=True, slots=True)
class SessionPatch:
    """What to change of a session; None, and what is empty, leaves things as they are. Removal is said explicitly."""

    external_id: str | None = None
    data_source: str | None = None
    type: str | None = None
    version: int | None = None
    utc_offset: timedelta | None = None
    metadata: Mapping[str, object] | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    remove_details: tuple[str, ...] = ()
    context: Mapping[str, object] = field(default_factory=dict)
    remove_context: tuple[str, ...] = ()
    max_history: int | None = None
    token_budget: int | None = None
    remove_fields: tuple[RemovableField, ...] = ()
    extend_ttl: timedelta | None = None
    required_labels: Labels | None = None


def check_patch(patch: SessionPatch) -> None:
    """Refuse what is malformed or beyond a limit, whatever session it is for.

    Of a context that is given, this bounds what is merged: the whole, which contains it, is bounded alike.

    Raises:
        InvalidInput: naming the field and its limit.
    """
    texts = {"externalId": patch.external_id, "dataSource": patch.data_source, "type": patch.type}
    for name, text in texts.items():
        if text:
            check_text(name, text)
    if patch.version is not None:
        check_version(patch.version)
    if patch.utc_offset is not None:
        check_utc_offset(patch.utc_offset)
    if patch.metadata is not None:
        check_json(patch.metadata, METADATA_BYTES_MAX, "metadata")
    if patch.max_history is not None:
        check_max_history(patch.max_history)
    if patch.token_budget is not None:
        check_token_budget(patch.token_budget)
    if patch.extend_ttl is not None:
        check_ttl(patch.extend_ttl, EXTEND_TTL_PATH)
    if patch.required_labels is not None:
        check_labels(patch.required_labels, ("requiredLabels",), REQUIRED_LABELS_MAX)
    check_details(patch.details)
    check_json(patch.context, CONTEXT_BYTES_MAX, "context")
    given = {name: value for name, value in {**texts, "tokenBudget": patch.token_budget}.items() if value}
    _check_removal("removeFields", patch.remove_fields, REMOVED_FIELDS_MAX, given)
    _check_removal("removeDetails", patch.remove_details, REMOVED_DETAILS_MAX, patch.details)
    _check_removal("removeContext", patch.remove_context, REMOVED_CONTEXT_MAX, patch.context)


def _check_removal(name: str, removed: Collection[str], removed_max: int, given: Mapping[str, object]) -> None:
    if len(removed) > removed_max:
        limit = f"{removed_max} keys"
        raise InvalidInput(f"{name} has at most {removed_max:,} keys, not {len(removed):,}", (name,), limit)
    for index, key in enumerate(removed):
        if key in given:
            raise InvalidInput(f"{key[:64]!r} is both given and removed", (name, str(index)))
