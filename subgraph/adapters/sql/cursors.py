"""Owns opaque cursors of keyset pages: what they hold, and refusing those that are none."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import msgspec

from subgraph.domain.errors import InvalidInput

CURSOR_LENGTH_MAX = 200
INTEGER_MAX = 2**63 - 1
"""The largest whole number that databases hold."""

C = TypeVar("C", bound=msgspec.Struct)


class CreatedCursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in a list ordered by creation, then id."""

    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str


class TermCursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in a list of terms, ordered by epoch, or by the time they were given and then by epoch."""

    assigned_at_ms: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]
    epoch: Annotated[int, msgspec.Meta(ge=0, le=INTEGER_MAX)]


def encode_cursor(cursor: CreatedCursor | TermCursor) -> str:
    """The cursor as clients carry it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_created_cursor(text: str) -> CreatedCursor:
    """The cursor a client gave back for a list ordered by creation.

    Raises:
        InvalidInput: it is none of such a list's.
    """
    cursor = _decode(text, CreatedCursor)
    try:
        return CreatedCursor(cursor.created_at.astimezone(UTC), cursor.id)
    except OverflowError:
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


def _refusal(text: str) -> InvalidInput:
    return InvalidInput(f"{text[:64]!r} is not a cursor of this list", ("after",))
