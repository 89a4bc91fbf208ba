"""Owns opaque cursors of keyset pages: what they hold, and refusing those that are none."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from subgraph.domain.errors import InvalidInput

CURSOR_LENGTH_MAX = 200


class CreatedCursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in a list ordered by creation, then id."""

    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    id: str


def encode_cursor(cursor: CreatedCursor) -> str:
    """The cursor as clients carry it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def decode_cursor(text: str) -> CreatedCursor:
    """The cursor a client gave back.

    Raises:
        InvalidInput: it is none of this list's.
    """
    try:
        padded = text[: CURSOR_LENGTH_MAX + 1] + "=" * (-len(text) % 4)
        cursor = msgspec.json.decode(base64.urlsafe_b64decode(padded), type=CreatedCursor)
        return CreatedCursor(cursor.created_at.astimezone(UTC), cursor.id)
    except (binascii.Error, ValueError, OverflowError, msgspec.DecodeError):
        raise InvalidInput(f"{text[:64]!r} is not a cursor of this list", ("after",)) from None
