"""Owns what a caller may ask of a session that is to be created, and within which limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from subgraph.domain.errors import InvalidInput
from subgraph.domain.expiry import MAX_HISTORY_MAX, ExpiryPolicy, check_ttl
from subgraph.domain.ids import SessionId
from subgraph.domain.labels import REQUIRED_LABELS_MAX, Labels, check_labels
from subgraph.domain.limits import check_length, check_number, check_span
from subgraph.domain.naming import NameConflict, check_name
from subgraph.domain.texts import check_keys, check_line, check_lines

TEXT_LENGTH_MAX = 200
DETAILS_MAX = 100
DETAIL_VALUE_LENGTH_MAX = 1_000
METADATA_BYTES_MAX = 65_536
CONTEXT_BYTES_MAX = 262_144
VERSION_MAX = 2**31 - 1
"""A version is an Int of GraphQL."""
TOKEN_BUDGET_MAX = 2**53 - 1
TICK_INTERVAL_MIN = timedelta(seconds=1)
TICK_INTERVAL_MAX = timedelta(days=1)
UTC_OFFSET_MAX = timedelta(hours=18)


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a caller asks of a session to be created; the key is never the caller's to choose."""

    display_name: str | None = None
    name_conflict: NameConflict = NameConflict.REJECT
    data_source: str | None = None
    type: str = "Session"
    version: int = 1
    utc_offset: timedelta = timedelta()
    details: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    required_labels: Labels = field(default_factory=dict)
    external_id: str | None = None
    context: Mapping[str, object] = field(default_factory=dict)
    max_history: int | None = None
    ttl: timedelta | None = None
    expiry_policy: ExpiryPolicy = ExpiryPolicy.SLIDING
    token_budget: int | None = None
    tick_interval: timedelta | None = None
    associate_ids: tuple[SessionId, ...] = ()


def check_new_session(wanted: NewSession, display_name: str) -> None:
    """Refuse what is malformed or beyond a limit.

    Raises:
        InvalidInput: naming the field and its limit, or the name looks like an id.
    """
    check_name(display_name)
    check_json(wanted.metadata, METADATA_BYTES_MAX, "metadata")
    check_json(wanted.context, CONTEXT_BYTES_MAX, "context")
    texts = (("dataSource", wanted.data_source), ("type", wanted.type), ("externalId", wanted.external_id))
    for name, text in texts:
        if text is not None:
            check_text(name, text)
    check_version(wanted.version)
    check_utc_offset(wanted.utc_offset)
    check_details(wanted.details)
    check_labels(wanted.required_labels, ("requiredLabels",), REQUIRED_LABELS_MAX)
    _check_working(wanted)


def check_text(name: str, text: str) -> None:
    """Refuse a text that is empty or too long, or that holds control characters.

    Raises:
        InvalidInput: naming the field, and the limit or the character.
    """
    check_length(name, len(text), TEXT_LENGTH_MAX, (name,))
    check_line(name, text, (name,))


def check_version(version: int) -> None:
    """Refuse a version that is none, or that GraphQL could not tell.

    Raises:
        InvalidInput: naming the limit.
    """
    check_number("version", version, 1, VERSION_MAX, ("version",))


def check_utc_offset(utc_offset: timedelta) -> None:
    """Refuse an offset that no place on Earth has.

    Raises:
        InvalidInput: naming the limit.
    """
    check_span("utcOffset", utc_offset, (-UTC_OFFSET_MAX, "-PT18H"), (UTC_OFFSET_MAX, "PT18H"), ("utcOffset",))


def check_details(details: Mapping[str, str]) -> None:
    """Refuse details that are too many or too long, or that hold control characters; values may have several lines.

    Raises:
        InvalidInput: naming the entry, and the limit or the character.
    """
    if len(details) > DETAILS_MAX:
        raise InvalidInput(
            f"at most {DETAILS_MAX} details, not {len(details):,}", ("details",), f"{DETAILS_MAX} details"
        )
    for index, (key, value) in enumerate(details.items()):
        at = ("details", str(index))
        check_length("a detail's key", len(key), TEXT_LENGTH_MAX, (*at, "key"))
        check_length("a detail's value", len(value), DETAIL_VALUE_LENGTH_MAX, (*at, "value"), least=0)
        check_line("a detail's key", key, (*at, "key"))
        check_lines("a detail's value", value, (*at, "value"))


def check_json(value: Mapping[str, object], bytes_max: int, name: str) -> None:
    """Refuse a JSON object that is too large, or of which a key holds control characters.

    Raises:
        InvalidInput: naming the field, and the limit or the character.
    """
    check_json_size(value, bytes_max, name)
    check_keys(name, value)


def check_json_size(value: Mapping[str, object], bytes_max: int, name: str) -> None:
    """Refuse a JSON object that is too large.

    Raises:
        InvalidInput: naming the field and the limit.
    """
    if len(msgspec.json.encode(value)) > bytes_max:
        raise InvalidInput(f"{name} has at most {bytes_max:,} bytes as JSON", (name,), f"{bytes_max} bytes")


def check_max_history(max_history: int) -> None:
    """Refuse a working history of no messages, or of too many.

    Raises:
        InvalidInput: naming the limit.
    """
    check_number("maxHistory", max_history, 1, MAX_HISTORY_MAX, ("maxHistory",))


def check_token_budget(token_budget: int) -> None:
    """Refuse a budget that is none.

    Raises:
        InvalidInput: naming the limit.
    """
    check_number("tokenBudget", token_budget, 1, TOKEN_BUDGET_MAX, ("tokenBudget",))


def _check_working(wanted: NewSession) -> None:
    if wanted.max_history is not None:
        check_max_history(wanted.max_history)
    if wanted.token_budget is not None:
        check_token_budget(wanted.token_budget)
    if wanted.ttl is not None:
        check_ttl(wanted.ttl)
        if wanted.expiry_policy is ExpiryPolicy.NEVER:
            raise InvalidInput("a session that never expires has no ttl", ("ttl",))
    if wanted.tick_interval is not None:
        least, most = (TICK_INTERVAL_MIN, "PT1S"), (TICK_INTERVAL_MAX, "P1D")
        check_span("tickInterval", wanted.tick_interval, least, most, ("tickInterval",))
