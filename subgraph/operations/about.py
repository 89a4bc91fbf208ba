"""Owns what a session manager says about itself: whether it is enabled, its defaults and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from subgraph.domain.coverage import TILES_PER_SESSION_MAX
from subgraph.domain.expiry import DEFAULTS, MAX_HISTORY_MAX, TTL_MAX, TTL_MIN, SessionDefaults
from subgraph.domain.labels import REQUIRED_LABELS_MAX
from subgraph.domain.naming import DISPLAY_NAME_LENGTH_MAX
from subgraph.domain.new_session import (
    CONTEXT_BYTES_MAX,
    DETAIL_VALUE_LENGTH_MAX,
    DETAILS_MAX,
    METADATA_BYTES_MAX,
    TEXT_LENGTH_MAX,
    TICK_INTERVAL_MAX,
    TICK_INTERVAL_MIN,
)
from subgraph.domain.session_document import CELLS_MAX, DOCUMENT_BYTES_MAX, EVENTS_MAX
from subgraph.domain.sessions.hierarchy import ASSOCIATES_PER_CALL_MAX
from subgraph.domain.sessions.titles import TITLE_LENGTH_MAX

LIMITS: Mapping[str, int] = {
    "displayNameCharacters": DISPLAY_NAME_LENGTH_MAX,
    "titleCharacters": TITLE_LENGTH_MAX,
    "textCharacters": TEXT_LENGTH_MAX,
    "details": DETAILS_MAX,
    "detailValueCharacters": DETAIL_VALUE_LENGTH_MAX,
    "metadataBytes": METADATA_BYTES_MAX,
    "contextBytes": CONTEXT_BYTES_MAX,
    "maxHistory": MAX_HISTORY_MAX,
    "ttlSecondsMin": int(TTL_MIN.total_seconds()),
    "ttlSecondsMax": int(TTL_MAX.total_seconds()),
    "requiredLabels": REQUIRED_LABELS_MAX,
    "tilesPerSession": TILES_PER_SESSION_MAX,
    "associatesPerCall": ASSOCIATES_PER_CALL_MAX,
    "tickIntervalSecondsMin": int(TICK_INTERVAL_MIN.total_seconds()),
    "tickIntervalSecondsMax": int(TICK_INTERVAL_MAX.total_seconds()),
    "documentBytes": DOCUMENT_BYTES_MAX,
    "documentCells": CELLS_MAX,
    "documentEvents": EVENTS_MAX,
}
"""What callers may ask of a session, by name and unit."""

OPERATION_OBJECTS_MAX = 50_000
"""Objects that one operation may ask for, unless a setting says otherwise: all references there may be, joined."""


@dataclass(frozen=True, slots=True)
class About:
    """A session manager as its settings make it."""

    version: str
    enabled: bool = True
    shows_session_picker: bool = True
    defaults: SessionDefaults = DEFAULTS
    retention: timedelta = timedelta(days=30)
    operation_objects_max: int = OPERATION_OBJECTS_MAX
    limits: Mapping[str, int] = field(default_factory=lambda: LIMITS)
