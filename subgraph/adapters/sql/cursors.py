"""Owns opaque cursors of keyset pagination: encoding, decoding, and refusing malformed ones."""

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from subgraph.adapters.sql.rows import is_text
from subgraph.domain.errors import InvalidInput
from subgraph.domain.session_list import SessionOrder, SessionOrderField
from subgraph.domain.sessions import Session

CURSOR_LENGTH_MAX = 2_000
"""Longer than a cursor with the longest name, of which some characters take six bytes."""
INTEGER_MAX = 2**63 - 1
"""The largest whole number that databases hold."""

C = TypeVar("C", bound=msgspec.Struct)
_Instant = Annotated[datetime, msgspec.Meta(tz=True)]
_VALUE_OF_ORDER: Mapping[SessionOrderField, Callable[[Session], datetime | str]] = {
    SessionOrderField.CREATED_AT: lambda session: session.created_at,
    SessionOrderField.UPDATED_AT: lambda session: session.updated_at,
    SessionOrderField.LAST_ACTIVE_AT: lambda session: session.last_active_at,
    SessionOrderField.DISPLAY_NAME: lambda session: session.display_name,
}


class SessionCursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in a list of sessions: the order it is of, the value that the session has in it, and its id."""

    order: str
    place: str
    id: str


class TermCursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in a list of terms, ordered by epoch, or by the time they were given and then by epoch."""

    assigned_at_ms: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
    epoch: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]


def encode_cursor(cursor: SessionCursor | TermCursor) -> str:
    """The cursor as clients carry it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def encode_session_cursor(order: SessionOrder, session: Session) -> str:
    """The cursor behind a session in a list of an order."""
    value = _VALUE_OF_ORDER[order.field](session)
    place = value if isinstance(value, str) else value.astimezone(UTC).isoformat()
    return encode_cursor(SessionCursor(_named(order), place, session.id))


def decode_session_cursor(order: SessionOrder, text: str) -> tuple[datetime | str, str]:
    """The place that a cursor names in a list of an order: the value in the order, and the session's id.

    Raises:
        InvalidInput: it is no cursor of a list of sessions, or of one in another order.
    """
    cursor = _decode(text, SessionCursor)
    if not (is_text(cursor.place) and is_text(cursor.id)):
        raise _refusal(text)
    if cursor.order != _named(order):
        raise InvalidInput(
            f"the cursor is of a list ordered by {cursor.order[:64]}, not by {_named(order)}: begin without it",
            ("after",),
        )
    if order.field is SessionOrderField.DISPLAY_NAME:
        return cursor.place, cursor.id
    try:
        return msgspec.convert(cursor.place, _Instant, strict=False).astimezone(UTC), cursor.id
    except (msgspec.ValidationError, OverflowError):
        raise _refusal(text) from None


def decode_term_cursor(text: str) -> TermCursor:
    """The cursor a client gave back for a list of terms.

    Raises:
        InvalidInput: it is none of such a list's.
    """
    return _decode(text, TermCursor)


def _decode(text: str, kind: type[C]) -> C:
    try:
        padded = text[: CURSOR_LENGTH_MAX + 1] + "=" * (-len(text) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=kind)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise _refusal(text) from None


def _named(order: SessionOrder) -> str:
    return f"{order.field} {'DESC' if order.is_descending else 'ASC'}"


def _refusal(text: str) -> InvalidInput:
    return InvalidInput(f"{text[:64]!r} is not a cursor of this list", ("after",))
