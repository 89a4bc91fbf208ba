"""Owns the types of events, which fields the payload of each has, and whom a field can name.

Events are written by it, and owners are erased by it: what is the journal's own word stays, whoever is called like it.
"""

from collections.abc import Mapping
from enum import Enum, StrEnum, auto


class SessionEventType(StrEnum):
    """What the journal tells of a session."""

    SESSION_STARTED = "SESSION_STARTED"
    SESSION_UPDATED = "SESSION_UPDATED"
    SESSION_RENAMED = "SESSION_RENAMED"
    SESSION_TITLED = "SESSION_TITLED"
    SESSION_ASSOCIATED = "SESSION_ASSOCIATED"
    SESSION_DISSOCIATED = "SESSION_DISSOCIATED"
    SESSION_COPIED = "SESSION_COPIED"
    SESSION_EXTENDED = "SESSION_EXTENDED"
    SESSION_ENDED = "SESSION_ENDED"
    SESSION_EXPIRED = "SESSION_EXPIRED"
    SESSION_REVIVED = "SESSION_REVIVED"
    SESSION_DELETED = "SESSION_DELETED"
    SESSION_RESTORED = "SESSION_RESTORED"
    SESSION_PURGED = "SESSION_PURGED"
    SESSION_TICK = "SESSION_TICK"
    OWNER_ERASED = "OWNER_ERASED"
    MESSAGE_APPENDED = "MESSAGE_APPENDED"
    HISTORY_CLEARED = "HISTORY_CLEARED"
    CONTEXT_UPDATED = "CONTEXT_UPDATED"
    AGENT_STATE_UPDATED = "AGENT_STATE_UPDATED"
    FILE_WRITTEN = "FILE_WRITTEN"
    BUDGET_NEAR_LIMIT = "BUDGET_NEAR_LIMIT"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    RUN_QUEUED = "RUN_QUEUED"
    RUN_STARTED = "RUN_STARTED"
    RUN_PROGRESS = "RUN_PROGRESS"
    RUN_SUCCEEDED = "RUN_SUCCEEDED"
    RUN_FAILED = "RUN_FAILED"
    RUN_CANCELLED = "RUN_CANCELLED"
    SCENARIO_CREATED = "SCENARIO_CREATED"
    SCENARIO_RESET = "SCENARIO_RESET"
    SCENARIO_DELETED = "SCENARIO_DELETED"
    DATASET_ADDED = "DATASET_ADDED"
    DATASET_DERIVED = "DATASET_DERIVED"
    DATASET_DELETED = "DATASET_DELETED"
    TILES_REGISTERED = "TILES_REGISTERED"
    TILES_UNREGISTERED = "TILES_UNREGISTERED"
    TILES_REASSIGNED = "TILES_REASSIGNED"
    TILE_HEALTH_CHANGED = "TILE_HEALTH_CHANGED"
    TILE_SPLIT = "TILE_SPLIT"
    TILES_MERGED = "TILES_MERGED"


class Names(Enum):
    """Whom a field of a payload can name."""

    NOBODY = auto()
    """It holds words of the journal's own, numbers, times, pods, or tiles of the session that the event is of."""
    SESSIONS = auto()
    """It holds ids of other sessions."""
    ANYBODY = auto()
    """It holds what a caller wrote."""


_TILES = {"count": Names.NOBODY, "tiles": Names.NOBODY}
_ASSOCIATION = {"associateIds": Names.SESSIONS, "parentId": Names.SESSIONS}

PAYLOADS: Mapping[SessionEventType, Mapping[str, Names]] = {
    SessionEventType.SESSION_STARTED: {"importedFrom": Names.SESSIONS},
    SessionEventType.SESSION_UPDATED: {"fields": Names.NOBODY},
    SessionEventType.SESSION_RENAMED: {"from": Names.ANYBODY, "to": Names.ANYBODY},
    SessionEventType.SESSION_TITLED: {"title": Names.ANYBODY, "source": Names.NOBODY},
    SessionEventType.SESSION_ASSOCIATED: _ASSOCIATION,
    SessionEventType.SESSION_DISSOCIATED: _ASSOCIATION,
    SessionEventType.SESSION_COPIED: {"sourceId": Names.SESSIONS, "include": Names.NOBODY},
    SessionEventType.SESSION_EXTENDED: {"expiresAt": Names.NOBODY},
    SessionEventType.SESSION_REVIVED: {"expiresAt": Names.NOBODY},
    SessionEventType.SESSION_DELETED: {"formerState": Names.NOBODY},
    SessionEventType.SESSION_RESTORED: {"state": Names.NOBODY},
    SessionEventType.SESSION_TICK: {"number": Names.NOBODY, "missed": Names.NOBODY},
    SessionEventType.CONTEXT_UPDATED: {"count": Names.NOBODY, "keys": Names.ANYBODY},
    SessionEventType.TILES_REGISTERED: _TILES,
    SessionEventType.TILES_UNREGISTERED: _TILES,
    SessionEventType.TILES_REASSIGNED: _TILES,
    SessionEventType.TILE_HEALTH_CHANGED: {**_TILES, "tilesByHealth": Names.NOBODY},
    SessionEventType.TILE_SPLIT: _TILES,
    SessionEventType.TILES_MERGED: _TILES,
    SessionEventType.OWNER_ERASED: {"sessions": Names.NOBODY},
}
"""The fields of the events that bear any; an event that is not here has no payload."""


def check_payload(event_type: SessionEventType, payload: Mapping[str, object]) -> None:
    """Have nothing written of which nobody has said whom it names.

    Raises:
        ValueError: a field is not in `PAYLOADS`; whoever tells this event is to add it there.
    """
    if undeclared := payload.keys() - PAYLOADS.get(event_type, {}).keys():
        raise ValueError(f"{event_type} has no payload's fields {sorted(undeclared)}")
