"""Owns what is said in the schema of the journal's events: what each type tells, and what its payload holds."""

from collections.abc import Mapping

from subgraph.api.descriptions import show_enum
from subgraph.domain.event_types import PAYLOADS, SessionEventType
from subgraph.domain.journal import COME_BY_THEMSELVES

PAYLOAD = (
    "Its facts, for programs: an object with the fields that the description of its type names; null where that names "
    "none."
)
RESERVED = "Reserved: nothing tells of it yet."

_Type = SessionEventType
_TOLD: Mapping[SessionEventType, str] = {
    _Type.SESSION_STARTED: "The session was created, or brought in.",
    _Type.SESSION_UPDATED: "Fields of the session were changed.",
    _Type.SESSION_RENAMED: "It got another name.",
    _Type.SESSION_TITLED: "It got a title.",
    _Type.SESSION_ASSOCIATED: "It got associates, or became one.",
    _Type.SESSION_DISSOCIATED: "It lost associates, or is one no more.",
    _Type.SESSION_COPIED: "It was made as a copy; it stands in the copy's journal, after SESSION_STARTED.",
    _Type.SESSION_EXTENDED: "It got another time to expire.",
    _Type.SESSION_ENDED: "It was ended: a stop.",
    _Type.SESSION_EXPIRED: "Its time ran out: a stop.",
    _Type.SESSION_REVIVED: "It had expired and was extended: a start.",
    _Type.SESSION_DELETED: "It was deleted: a stop if it was ACTIVE.",
    _Type.SESSION_RESTORED: "It was deleted and is back: a start if it is ACTIVE.",
    _Type.SESSION_PURGED: "It was removed for good, with all else that its journal told but its stops.",
    _Type.SESSION_TICK: "Its tick interval went by; those that were missed meanwhile are told as one.",
    _Type.OWNER_ERASED: "An owner was erased from the tenant; it stands in the main session's journal, not with whom.",
    _Type.CONTEXT_UPDATED: "Its working memory was changed.",
    _Type.TILES_REGISTERED: "Tiles were registered for it.",
    _Type.TILES_UNREGISTERED: "Tiles were taken out of its coverage.",
    _Type.TILES_REASSIGNED: "Tiles of it have other owners.",
    _Type.TILE_HEALTH_CHANGED: (
        "The health of tiles changed. Best effort: what changes while nobody leads the fleet, or within ten seconds of "
        "the tile's last such event, may never be told."
    ),
    _Type.TILE_SPLIT: "Tiles of it were replaced by their parts.",
    _Type.TILES_MERGED: "Parts were replaced by their tile again.",
}

_OWNERS = (
    "of each, up to 100: `tileId`, the pods `from` and `to` or null, the `epoch` and the `reason`, null while nobody "
    "owns it"
)
_FIELDS_OF: Mapping[tuple[SessionEventType, str], str] = {
    (_Type.TILES_REASSIGNED, "tiles"): _OWNERS,
    (_Type.TILE_SPLIT, "tiles"): _OWNERS,
    (_Type.TILES_MERGED, "tiles"): _OWNERS,
    (_Type.TILE_HEALTH_CHANGED, "tiles"): "of each, up to 100: `tileId`, and the healths `from` and `to`",
}
"""What a field means where that depends on the type."""
_FIELDS: Mapping[str, str] = {
    "associateIds": "ids of the associates, in the parent's journal",
    "count": "how many in all",
    "expiresAt": "when it expires now",
    "fields": "names of the fields that changed",
    "formerState": "the state it was in",
    "from": "its name before",
    "importedFrom": "`sessionId` and `exportedAt` of what was brought in; the payload is null where nothing was",
    "include": "the parts that were copied",
    "keys": "100 at most of the keys that were set or removed, and are at most 200 characters long",
    "missed": "how many before it were not told",
    "number": "which tick it is, from 1",
    "parentId": "id of the parent, in an associate's journal",
    "sessions": "how many sessions went",
    "source": "where the title came from, as in SessionTitleSource",
    "sourceId": "id of the session it is a copy of",
    "state": "the state it is in now",
    "tiles": "of each, up to 100: `tileId`",
    "tilesByHealth": "how many are of each health now",
    "title": "its title",
    "to": "its name now",
}


def meaning_of(event_type: SessionEventType) -> str:
    """What an event of a type tells, whether it is kept for good, and each field of its payload."""
    if event_type not in _TOLD:
        return RESERVED
    fields = "; ".join(
        f"`{name}` ({_FIELDS_OF.get((event_type, name)) or _FIELDS[name]})" for name in PAYLOADS.get(event_type, ())
    )
    return " ".join(
        (
            _TOLD[event_type],
            *(["Forgotten after a retention, 30 days by default."] if event_type in COME_BY_THEMSELVES else []),
            *([f"Payload: {fields}."] if fields else []),
        )
    )


show_enum(
    SessionEventType,
    name="SessionEventType",
    description="What the journal tells of a session.",
    values={event_type: meaning_of(event_type) for event_type in SessionEventType},
)
