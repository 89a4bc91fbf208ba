"""Owns how things are named: tiles `{sessionId}:{h3Index}`, terms of ownership `{tileId}@{epoch}`, and versions."""

from typing import NewType

import h3.api.basic_int as h3

from subgraph.domain.errors import InvalidInput

TenantId = NewType("TenantId", str)
SessionId = NewType("SessionId", str)
TileId = NewType("TileId", str)
PodId = NewType("PodId", str)
AssignmentId = NewType("AssignmentId", str)

INCARNATION_SHIFT = 32
"""A version is `incarnation << 32 | counter`: whatever Redis forgets, a later incarnation's versions are larger."""

CELL_TEXT_LENGTH_MAX = 16
"""Digits of an H3 index."""

ID_LENGTH_MAX = 128
"""Longest id a client may choose (pods) or present; anything longer is refused unread."""


def version_of(incarnation: int, counter: int) -> int:
    """The fleet version of a counter within an incarnation; below 2**53 while the incarnation is below 2**21."""
    return incarnation << INCARNATION_SHIFT | counter


def incarnation_of(version: int) -> int:
    """The incarnation that a fleet version or an epoch is of."""
    return version >> INCARNATION_SHIFT


def tile_id(session_id: SessionId, cell: int) -> TileId:
    """The id of a session's tile at an H3 cell."""
    return TileId(f"{session_id}:{cell:x}")


def parse_tile_id(text: str, path: tuple[str, ...] = ()) -> tuple[SessionId, int]:
    """Split a tile id into session id and H3 cell.

    Raises:
        InvalidInput: the text is not `{sessionId}:{h3Index}` with a valid, canonical H3 cell.
    """
    session, _, cell_text = text.rpartition(":") if len(text) <= ID_LENGTH_MAX else ("", "", "")
    try:
        cell = int(cell_text, 16) if len(cell_text) <= CELL_TEXT_LENGTH_MAX else 0
    except ValueError:
        cell = 0
    # One tile has one id: capitals and other spellings of the same number are refused.
    if not session or cell < 0 or f"{cell:x}" != cell_text or not h3.is_valid_cell(cell):
        raise InvalidInput(f"{text[:ID_LENGTH_MAX]!r} is not a tile id: {{sessionId}}:{{h3Index}}", path)
    return SessionId(session), cell


def assignment_id(tile: TileId, epoch: int) -> AssignmentId:
    """The id of one term of ownership of a tile."""
    return AssignmentId(f"{tile}@{epoch}")


def parse_assignment_id(text: str, path: tuple[str, ...] = ()) -> tuple[TileId, int]:
    """Split an assignment id into tile id and epoch.

    Raises:
        InvalidInput: the text is not `{tileId}@{epoch}`.
    """
    tile, _, epoch_text = text.rpartition("@") if len(text) <= 2 * ID_LENGTH_MAX else ("", "", "")
    if not (epoch_text.isascii() and epoch_text.isdecimal() and len(epoch_text) <= 16 and epoch_text[0] != "0"):
        raise InvalidInput(f"{text[:ID_LENGTH_MAX]!r} is not an assignment id: {{tileId}}@{{epoch}}", path)
    parse_tile_id(tile, path)
    return TileId(tile), int(epoch_text)
