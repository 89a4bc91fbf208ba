"""Owns the port of the journal: entries in commit order, whose positions are the cursors of all readers."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import JournalEntry, SessionEvent, SessionEventType
from subgraph.domain.session_list import SessionList


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries of one tenant are wanted; None leaves open. `listed`: of sessions that a list holds."""

    tenant_id: TenantId
    session_ids: Collection[SessionId] | None = None
    owner_id: str | None = None
    data_source: str | None = None
    types: Collection[SessionEventType] | None = None
    listed: SessionList | None = None


class JournalPutBack(Exception):
    """SQL was put back to an earlier state, so a stream has told what is not, or not so, in the journal any more."""

    def __init__(self) -> None:
        super().__init__(
            "the journal was put back to an earlier state, so what was told may not be so any more: read anew, and "
            "subscribe without `after`"
        )


class Journal(Protocol):
    """What was told of sessions, in SQL. Positions rise in the order of commits, and are never used again.

    They are only if SQL is put back to an earlier state. Then the highest position is one that was exceeded before.

    Whoever has read up to a position has read all below it that will ever be there.
    """

    async def append(self, events: Sequence[SessionEvent]) -> None:
        """Write events that change nothing of their sessions, in one transaction.

        Events of sessions that are not there are left out.

        Raises:
            Unavailable: the database did not answer, or stayed busy beyond its bound.
        """
        ...

    async def newest_position(self) -> int:
        """The position of the newest entry that is there; 0 if there is none."""
        ...

    async def highest_position(self) -> int:
        """The highest position that was ever handed out, whatever became of its entry; 0 before the first.

        No cursor of this journal is above it. Of what is being committed at this moment it may be ahead.
        """
        ...

    async def entries_after(self, position: int, limit: int) -> list[JournalEntry]:
        """The next entries of all tenants behind a position."""
        ...

    async def entries(
        self, wanted: EntryFilter, after: int, limit: int, up_to: int | None = None
    ) -> list[JournalEntry]:
        """The next entries behind a position that are wanted, up to a position."""
        ...

    async def entries_of_each(
        self,
        tenant_id: TenantId,
        session_ids: Sequence[SessionId],
        types: Collection[SessionEventType] | None,
        after: int,
        limit: int,
    ) -> dict[SessionId, list[JournalEntry]]:
        """The next entries of each of some sessions behind a position, of some types or all."""
        ...

    async def unrelayed(self, limit: int) -> list[JournalEntry]:
        """The oldest entries, of all tenants, not yet marked as relayed."""
        ...

    async def mark_relayed(self, positions: Sequence[int]) -> None:
        """Remember that these entries were announced. Marking twice is harmless."""
        ...
