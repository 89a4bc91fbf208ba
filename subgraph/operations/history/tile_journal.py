"""Owns what the journal tells of tiles that changed hands: many at a time, from the log of what the fleet committed.

The live store is the truth of it, and the log says each change once; the journal remembers up to which entry it has
told of it. So a log that is read twice is told once, whoever leads.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from subgraph.domain.ids import SessionId, parse_tile_id
from subgraph.domain.journal import SessionEventType
from subgraph.domain.ownership import AssignmentReason
from subgraph.operations.history.term_history import LoggedChange

TILES_PER_EVENT_MAX = 100

_TYPE_OF: dict[AssignmentReason | None, SessionEventType] = {
    AssignmentReason.TILE_SPLIT: SessionEventType.TILE_SPLIT,
    AssignmentReason.TILE_MERGED: SessionEventType.TILES_MERGED,
}
"""What is told of a tile that is given away for a reason; all else is TILES_REASSIGNED."""


@dataclass(frozen=True, slots=True)
class TilesTold:
    """What is told of some tiles of a session. `at_ms`: Redis time of the last of the changes.

    `count`: of how many, where not all of them are named.
    """

    session_id: SessionId
    type: SessionEventType
    at_ms: int
    tiles: tuple[dict[str, object], ...]
    count: int | None = None
    further: Mapping[str, object] = field(default_factory=dict)

    @property
    def payload(self) -> dict[str, object]:
        """The event's facts."""
        count = len(self.tiles) if self.count is None else self.count
        return {"count": count, "tiles": list(self.tiles), **self.further}


class TileJournal(Protocol):
    """Where the journal tells of tiles."""

    async def tell(self, changes: Sequence[LoggedChange]) -> None:
        """Tell of changes in the order of the log, of those that were not told yet.

        Raises:
            Unavailable: SQL does not answer.
        """
        ...

    async def tell_apart(self, told: Sequence[TilesTold]) -> None:
        """Tell what is in no log, in one transaction; of sessions that are gone, nothing.

        Raises:
            Unavailable: SQL does not answer.
        """
        ...


def tiles_told(changes: Sequence[LoggedChange]) -> Iterator[TilesTold]:
    """What changes say of owners, per session and kind in the order of their first tile, some tiles at a time."""
    gathered: defaultdict[tuple[SessionId, SessionEventType], list[tuple[int, dict[str, object]]]] = defaultdict(list)
    for change in changes:
        former = change.before.owner if change.before else None
        owner = change.after.owner if change.after else None
        if (former.epoch if former else None) == (owner.epoch if owner else None):
            continue
        session_id, _ = parse_tile_id(change.tile_id)
        facts: dict[str, object] = {
            "tileId": change.tile_id,
            "from": former.pod_id if former else None,
            "to": owner.pod_id if owner else None,
            "epoch": owner.epoch if owner else None,
            "reason": owner.reason.value if owner else None,
        }
        event_type = _TYPE_OF.get(owner.reason if owner else None, SessionEventType.TILES_REASSIGNED)
        gathered[session_id, event_type].append((change.at_ms, facts))
    for (session_id, event_type), told in gathered.items():
        for start in range(0, len(told), TILES_PER_EVENT_MAX):
            some = told[start : start + TILES_PER_EVENT_MAX]
            yield TilesTold(session_id, event_type, some[-1][0], tuple(facts for _, facts in some))
