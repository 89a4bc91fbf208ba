"""Owns what is said in the schema of the journal's events: what each type tells, and what its payload holds."""

from collections.abc import Mapping

from subgraph.api.descriptions import show_enum
from subgraph.domain.event_types import PAYLOADS, SessionEventType
from subgraph.domain.journal import COME_BY_THEMSELVES

PAYLOAD = "Details, as a JSON object with the fields named in the description of its type; null if that names none."
RESERVED = "Reserved: not emitted yet."

_Type = SessionEventType
_TOLD: Mapping[SessionEventType, str] = {
    _Type.SESSION_STARTED: "The session was created or imported.",
    _Type.SESSION_UPDATED: "Fields of the session were changed.",
    _Type.SESSION_RENAMED: "The session was renamed.",
    _Type.SESSION_TITLED: "The session got a title.",
    _Type.SESSION_ASSOCIATED: "Associates were added to the session, or it became an associate.",
    _Type.SESSION_DISSOCIATED: "Associates were removed from the session, or it is no longer an associate.",
    _Type.SESSION_COPIED: "The session was created as a copy. It follows SESSION_STARTED in the copy's journal.",
    _Type.SESSION_EXTENDED: "The session's time of expiry was changed.",
    _Type.SESSION_ENDED: "The session was ended. Counts as a stop.",
    _Type.SESSION_EXPIRED: "The session expired. Counts as a stop.",
    _Type.SESSION_REVIVED: "The session had expired and was extended. Counts as a start.",
    _Type.SESSION_DELETED: "The session was deleted. Counts as a stop if it was ACTIVE.",
    _Type.SESSION_RESTORED: "The deleted session was restored. Counts as a start if it is ACTIVE.",
    _Type.SESSION_PURGED: "The session was removed permanently, with all its other events except its stops.",
    _Type.SESSION_TICK: "The session's tick interval elapsed. Missed ticks are merged into one event.",
    _Type.OWNER_ERASED: (
        "An owner was erased from the tenant. It is written to the main session's journal, without the owner's id."
    ),
    _Type.CONTEXT_UPDATED: "The session's working memory was changed.",
    _Type.TILES_REGISTERED: "Tiles were registered for the session.",
    _Type.TILES_UNREGISTERED: "Tiles were removed from the session's coverage.",
    _Type.TILES_REASSIGNED: "Tiles of the session changed their owners.",
    _Type.TILE_HEALTH_CHANGED: (
        "The health of tiles changed. Best effort: changes while the fleet has no leader, or within ten seconds "
        "of the tile's previous such event, may not be reported."
    ),
    _Type.TILE_SPLIT: "Tiles of the session were split: replaced by their H3 children.",
    _Type.TILES_MERGED: "Tiles of the session were merged: replaced by their H3 parent.",
}

_OWNERS = (
    "for at most 100 of them: `tileId`, ids of the pods `from` and `to` or null, `epoch` and `reason`, both null "
    "if the tile has no owner"
)
_FIELDS_OF: Mapping[tuple[SessionEventType, str], str] = {
    (_Type.TILES_REASSIGNED, "tiles"): _OWNERS,
    (_Type.TILE_SPLIT, "tiles"): _OWNERS,
    (_Type.TILES_MERGED, "tiles"): _OWNERS,
    (_Type.TILE_HEALTH_CHANGED, "tiles"): "for at most 100 of them: `tileId`, and its health `from` and `to`",
}
"""What a field means where that depends on the type."""
_FIELDS: Mapping[str, str] = {
    "associateIds": "ids of the associates, in the parent's journal",
    "count": "total number",
    "expiresAt": "the new time of expiry",
    "fields": "names of the fields that changed",
    "formerState": "its previous state",
    "from": "the old name",
    "importedFrom": (
        "`sessionId` and `exportedAt` of the imported document; the payload is null if the session was not imported"
    ),
    "include": "the parts that were copied",
    "keys": "keys that were set or removed, at most 100, without those of more than 200 characters",
    "missed": "number of ticks before this one that were missed",
    "number": "number of the tick, from 1",
    "parentId": "id of the parent, in an associate's journal",
    "sessions": "number of purged sessions",
    "source": "how the title was obtained: a SessionTitleSource",
    "sourceId": "id of the original session",
    "state": "its new state",
    "tiles": "for at most 100 of them: `tileId`",
    "tilesByHealth": "number of the session's tiles by health",
    "title": "the new title",
    "to": "the new name",
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
            *(["Deleted after a retention, 30 days by default."] if event_type in COME_BY_THEMSELVES else []),
            *([f"Payload: {fields}."] if fields else []),
        )
    )


show_enum(
    SessionEventType,
    name="SessionEventType",
    description="Type of a session's event.",
    values={event_type: meaning_of(event_type) for event_type in SessionEventType},
)
