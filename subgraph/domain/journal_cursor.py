"""Owns the journal's cursor as clients carry it: a position, opaque, the same for pages and streams."""

import base64
import binascii
from typing import Annotated

import msgspec

from subgraph.domain.errors import InvalidInput

CURSOR_LENGTH_MAX = 64
POSITION_MAX = 2**63 - 1
"""The largest whole number that databases hold."""


class _Cursor(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    position: Annotated[int, msgspec.Meta(ge=0, le=POSITION_MAX)]


def encode_position(position: int) -> str:
    """The cursor of an entry at a position: what follows it comes after this."""
    return base64.urlsafe_b64encode(msgspec.json.encode(_Cursor(position))).decode().rstrip("=")


def decode_position(text: str) -> int:
    """The position that a client gave back.

    Raises:
        InvalidInput: the text is no cursor of the journal.
    """
    try:
        padded = text[: CURSOR_LENGTH_MAX + 1] + "=" * (-len(text) % 4)
        return msgspec.json.decode(base64.urlsafe_b64decode(padded), type=_Cursor).position
    except (binascii.Error, ValueError, msgspec.DecodeError):
        raise InvalidInput(f"{text[:CURSOR_LENGTH_MAX]!r} is not a cursor of the journal", ("after",)) from None
