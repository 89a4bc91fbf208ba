"""Owns what a caller may ask of a session that is to be created, and within which limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import msgspec

from subgraph.domain.errors import InvalidInput
from subgraph.domain.labels import REQUIRED_LABELS_MAX, Labels, check_labels
from subgraph.domain.naming import NameConflict, check_name

TEXT_LENGTH_MAX = 200
DETAILS_MAX = 100
DETAIL_VALUE_LENGTH_MAX = 1_000
METADATA_BYTES_MAX = 65_536
UTC_OFFSET_MAX = timedelta(hours=18)


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a caller asks of a session to be created; the key is never the caller's to choose."""

    display_name: str | None = None
    name_conflict: NameConflict = NameConflict.REJECT
    data_source: str | None = None
    type: str = "Session"
    version: int = 1
    utc_offset: timedelta = timedelta()
    details: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, object] = field(default_factory=dict)
    required_labels: Labels = field(default_factory=dict)


def check_new_session(wanted: NewSession, display_name: str) -> None:
    """Refuse what is malformed or beyond a limit.

    Raises:
        InvalidInput: naming the field and its limit, or the name looks like an id.
    """
    check_name(display_name)
    if len(msgspec.json.encode(wanted.metadata)) > METADATA_BYTES_MAX:
        raise InvalidInput(
            f"metadata has at most {METADATA_BYTES_MAX:,} bytes as JSON", ("metadata",), f"{METADATA_BYTES_MAX} bytes"
        )
    for name, text in (("dataSource", wanted.data_source), ("type", wanted.type)):
        if text is not None and not 1 <= len(text) <= TEXT_LENGTH_MAX:
            raise InvalidInput(
                f"{name} must have 1 to {TEXT_LENGTH_MAX} characters, not {len(text):,}",
                (name,),
                f"{TEXT_LENGTH_MAX} characters",
            )
    if wanted.version < 1:
        raise InvalidInput(f"version must be at least 1, not {wanted.version}", ("version",), "1")
    if abs(wanted.utc_offset) > UTC_OFFSET_MAX:
        raise InvalidInput("utcOffset must lie within 18 hours of UTC", ("utcOffset",), "PT18H")
    if len(wanted.details) > DETAILS_MAX:
        raise InvalidInput(
            f"at most {DETAILS_MAX} details, not {len(wanted.details):,}", ("details",), f"{DETAILS_MAX} details"
        )
    for index, (key, value) in enumerate(wanted.details.items()):
        if not 1 <= len(key) <= TEXT_LENGTH_MAX or len(value) > DETAIL_VALUE_LENGTH_MAX:
            raise InvalidInput(
                f"a detail's key has 1 to {TEXT_LENGTH_MAX} characters, its value at most {DETAIL_VALUE_LENGTH_MAX:,}",
                ("details", str(index)),
                f"{DETAIL_VALUE_LENGTH_MAX} characters",
            )
    check_labels(wanted.required_labels, ("requiredLabels",), REQUIRED_LABELS_MAX)
