"""Owns a store of sessions with its journal in memory, as far as who follows the journal needs it."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from datetime import datetime

from subgraph.domain.erasure import Traces
from subgraph.domain.errors import RevisionConflict
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import COME_BY_THEMSELVES, JournalEntry, SessionEvent, SessionEventType
from subgraph.domain.sessions import Session, SessionChange
from subgraph.operations.journal.journal import EntryFilter
from subgraph.operations.sessions.session_ports import MainExists


class JournalInMemory:
    """Both ports in one, with what retention and erasure ask of them. Entries are in the order of their positions."""

    def __init__(self) -> None:
        self._sessions: dict[SessionId, Session] = {}
        self._entries: list[JournalEntry] = []
        self._highest_position = 0
        self._sequences: Counter[SessionId] = Counter()
        self._unrelayed: dict[int, JournalEntry] = {}

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The tenant's sessions among the ids."""
        found = {one: self._sessions[one] for one in session_ids if one in self._sessions}
        return {one: session for one, session in found.items() if session.tenant_id == tenant_id}

    async def main_session(self, tenant_id: TenantId) -> Session | None:
        """The tenant's main session."""
        mains = (one for one in self._sessions.values() if one.is_main and one.tenant_id == tenant_id)
        return next(mains, None)

    async def commit(self, change: SessionChange) -> None:
        """Write sessions and events, or nothing."""
        for session in change.updated:
            if (current := self._sessions[session.id].revision) != session.revision - 1:
                raise RevisionConflict(session.id, current)
        updated = {session.id for session in change.updated}
        for session in change.created:
            # A main that stops makes way in the same change.
            main = await self.main_session(session.tenant_id)
            if session.is_main and main is not None and main.id not in updated:
                raise MainExists(session.tenant_id)
        self._sessions |= {session.id: session for session in (*change.created, *change.updated)}
        await self.append(change.events)

    async def change(
        self, tenant_id: TenantId, session_id: SessionId, decide: Callable[[Session | None], SessionChange]
    ) -> tuple[Session, SessionChange]:
        """Read, decide and commit, with nothing in between."""
        session = (await self.sessions(tenant_id, [session_id])).get(session_id)
        change = decide(session)
        assert session is not None
        await self.commit(change)
        return session, change

    async def append(self, events: Sequence[SessionEvent]) -> None:
        """Number events and keep them."""
        for event in events:
            self._sequences[event.session_id] += 1
            self._highest_position += 1
            entry = JournalEntry(self._highest_position, self._sequences[event.session_id], event)
            self._entries.append(entry)
            self._unrelayed[entry.position] = entry

    async def newest_position(self) -> int:
        """The position of the newest entry that is there."""
        return self._entries[-1].position if self._entries else 0

    async def highest_position(self) -> int:
        """The highest position that was ever handed out."""
        return self._highest_position

    async def entries_after(self, position: int, limit: int) -> list[JournalEntry]:
        """The next entries behind a position."""
        return self._behind(position)[:limit]

    async def entries(
        self, wanted: EntryFilter, after: int, limit: int, up_to: int | None = None
    ) -> list[JournalEntry]:
        """The next entries behind a position that are wanted."""
        found = [entry for entry in self._behind(after, up_to) if _is_wanted(entry.event, wanted)]
        return found[:limit]

    async def entries_of_each(
        self,
        tenant_id: TenantId,
        session_ids: Sequence[SessionId],
        types: Collection[SessionEventType] | None,
        after: int,
        limit: int,
    ) -> dict[SessionId, list[JournalEntry]]:
        """The next entries of each of some sessions behind a position."""
        return {
            one: await self.entries(EntryFilter(tenant_id, [one], types=types), after, limit) for one in session_ids
        }

    async def unrelayed(self, limit: int) -> list[JournalEntry]:
        """The oldest entries that are not marked."""
        return list(self._unrelayed.values())[:limit]

    async def mark_relayed(self, positions: Sequence[int]) -> None:
        """Mark entries."""
        for position in positions:
            self._unrelayed.pop(position, None)

    def back_up(self) -> Callable[[], None]:
        """Remember all as it is; returns what puts it back."""
        kept = deepcopy(vars(self))
        return lambda: vars(self).update(deepcopy(kept))

    async def forget_old(self, before: datetime, limit: int) -> int:
        """Remove the oldest relayed entries that came by themselves before a moment."""
        old = [
            entry
            for entry in self._entries
            if entry.event.type in COME_BY_THEMSELVES
            and entry.event.occurred_at < before
            and entry.position not in self._unrelayed
        ]
        forgotten = sorted(old, key=lambda entry: (entry.event.occurred_at, entry.position))[:limit]
        self._remove({entry.position for entry in forgotten})
        return len(forgotten)

    async def forget_journal(self, tenant_id: TenantId, traces: Traces) -> None:
        """Remove all that is told of an owner's sessions."""
        self._remove(
            {
                entry.position
                for entry in self._entries
                if (entry.event.tenant_id, entry.event.owner_id) == (tenant_id, traces.owner_id)
                and entry.event.session_id in traces.session_ids
            }
        )

    def _behind(self, after: int, up_to: int | None = None) -> list[JournalEntry]:
        def place(position: int) -> int:
            return bisect_right(self._entries, position, key=lambda entry: entry.position)

        return self._entries[place(after) : None if up_to is None else place(up_to)]

    def _remove(self, positions: set[int]) -> None:
        self._entries = [entry for entry in self._entries if entry.position not in positions]
        for position in positions:
            self._unrelayed.pop(position, None)


def _is_wanted(event: SessionEvent, wanted: EntryFilter) -> bool:
    return (
        event.tenant_id == wanted.tenant_id
        and (wanted.session_ids is None or event.session_id in wanted.session_ids)
        and wanted.owner_id in (None, event.owner_id)
        and wanted.data_source in (None, event.data_source)
        and (wanted.types is None or event.type in wanted.types)
    )
