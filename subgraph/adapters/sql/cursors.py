"""Owns opaque cursors of keyset pages: what they hold, and refusing those that are none."""

import base64
import binascii
from datetime import datetime

import msgspec

from subgraph.domain.errors import InvalidInput

CURSOR_LENGTH_MAX = 200


class CreatedCursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A place in a list ordered by creation, then id."""

    created_at: datetime
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
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=CreatedCursor)
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InvalidInput(f"{text[:64]!r} is not a cursor of this list", ("after",)) from None
