"""Owns how a copy of a session is written in Redis: `B{revision}|{layout}|` and MessagePack.

The layout is derived from the session's own fields, so a copy that another version of this software has written is
known as such, and is none.
"""

from dataclasses import fields
from hashlib import sha256

import msgspec

from subgraph.domain.sessions import Session

LAYOUT = sha256("|".join(f"{one.name}:{one.type}" for one in fields(Session)).encode()).hexdigest()[:16].encode()
"""Names the fields of a session and their types."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Session)


def encode_copy(session: Session) -> bytes:
    """A copy of a session; nothing for one that holds what cannot be copied exactly."""
    try:
        return b"B%d|%b|%b" % (session.revision, LAYOUT, _encoder.encode(session))
    except (OverflowError, TypeError, msgspec.MsgspecError):
        # JSON knows integers of any size, MessagePack those of 64 bits.
        return b""


def is_copy(stored: bytes | None) -> bool:
    """Whether a place holds a copy, readable or not; otherwise it is free, claimed or fenced."""
    return stored is not None and stored.startswith(b"B")


def decode_copy(stored: bytes) -> Session | None:
    """The session of a copy; None for one that is not of this version's form."""
    _, layout, packed = stored.split(b"|", 2) if stored.count(b"|", 0, 64) >= 2 else (b"", b"", b"")
    if layout != LAYOUT:
        return None
    try:
        return _decoder.decode(packed)
    except msgspec.MsgspecError:
        return None
