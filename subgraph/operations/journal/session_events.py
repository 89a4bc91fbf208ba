"""Owns how callers read the journal: pages and streams by the same cursor, within what the caller may see."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from subgraph.domain import journal
from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import InvalidInput, NotFound
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import STARTS, STOPS, JournalEntry, SessionEvent, SessionEventType
from subgraph.domain.journal_cursor import decode_position, encode_position
from subgraph.domain.limits import check_chosen
from subgraph.domain.session_list import SessionFilter, SessionOrder, list_for
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.journal.journal import EntryFilter, Journal, JournalPutBack
from subgraph.operations.journal.journal_feed import JournalFeed, Key
from subgraph.operations.ports import Clock, Page, SlowConsumer
from subgraph.operations.sessions.session_ports import SessionStore

REPLAY_PAGE = 500


@dataclass(frozen=True, slots=True)
class EventsWanted:
    """Which events: of a session, of a data source, of some types; None leaves open. All apply."""

    session_id: SessionId | None = None
    data_source: str | None = None
    types: frozenset[SessionEventType] | None = None


@dataclass(frozen=True, slots=True)
class SessionEvents:
    """The journal of one store, for callers."""

    store: SessionStore
    journal: Journal
    feed: JournalFeed
    clock: Clock

    async def pages(
        self,
        caller: Caller,
        session_ids: Sequence[SessionId],
        types: frozenset[SessionEventType] | None,
        first: int,
        after: str | None,
    ) -> dict[SessionId, Page[JournalEntry]]:
        """What the journal tells of each of some sessions, oldest first, in one load; `total_count` is None.

        Those that the caller may not see, or that are deleted, are not in the answer.

        Raises:
            InvalidInput: `after` is no cursor of this journal, or `types` is empty.
        """
        check_chosen("types", types, ("types",))
        position = 0 if after is None else await self._position(after)
        found = await self.store.sessions(caller.tenant_id, session_ids)
        open_ids = [one for one in session_ids if _is_open(caller, found.get(one))]
        told = await self.journal.entries_of_each(caller.tenant_id, open_ids, types, position, first + 1)
        return {session_id: _page(entries, first) for session_id, entries in told.items()}

    async def audit_log(
        self, caller: Caller, listed: SessionFilter | None, first: int, after: str | None
    ) -> Page[JournalEntry]:
        """Entries of the tenant, or of the caller's own sessions; with a filter, of those that are like it now.

        Raises:
            InvalidInput: a value of the filter is malformed, or `after` is no cursor of this journal.
        """
        chosen = await self._filter(caller, EventsWanted())
        if listed is not None:
            sessions = list_for(caller, listed, SessionOrder(), self.clock())
            if sessions is None:
                return Page((), (), False, None)
            chosen = replace(chosen, listed=sessions)
        position = 0 if after is None else await self._position(after)
        return _page(await self.journal.entries(chosen, position, first + 1), first)

    async def follow(self, caller: Caller, wanted: EventsWanted, after: str | None) -> AsyncIterator[JournalEntry]:
        """Entries that the caller may see: from now on, or all behind a cursor and then as they come; each once.

        Raises:
            NotFound, InvalidInput: as for `page`; NotFound also where the caller may not see the session any more.
            SlowConsumer: the reader fell behind; it says behind which cursor to go on.
            JournalPutBack: SQL was put back to an earlier state, from before what was told or asked for.
        """
        chosen = await self._filter(caller, wanted)
        if after is None:
            position = await self.journal.newest_position()
        else:
            position = await self._position(after)
            # What is long past comes straight from the journal: nothing needs to wait in memory meanwhile.
            while (newest := await self.journal.newest_position()) > position + REPLAY_PAGE:
                async for entry in self._replay(caller, wanted, chosen, position, newest):
                    yield entry
                position = newest

        def ends_visibility(entry: JournalEntry) -> bool:
            # A tenant's main session is seen by all, and is its owner's alone once it has stopped.
            by_id = wanted.session_id is not None
            return by_id and entry.event.type in STOPS and not caller.may_see(entry.event)

        def wants(entry: JournalEntry) -> bool:
            may_see = wanted.session_id is not None or caller.may_see(entry.event)
            return (_is_wanted(entry, wanted) and may_see) or ends_visibility(entry)

        async with self.feed.follow(_key(caller, wanted), wants) as live:
            # Stops from before are in what is read here; those from here on come by the feed.
            await self._check_visible(caller, wanted)
            if position < live.behind:
                async for entry in self._replay(caller, wanted, chosen, position, live.behind):
                    yield entry
                position = live.behind
            elif position > live.behind and position > await self.journal.highest_position():
                # It was, when this stream began.
                raise JournalPutBack
            try:
                async for entry in live.entries:
                    if entry.position > position:
                        if _is_wanted(entry, wanted):
                            yield entry
                        position = entry.position
                        if ends_visibility(entry):
                            await self._check_visible(caller, wanted)
            except SlowConsumer as cut:
                why = "more happened than this reader took: subscribe again with the cursor given as `after`"
                raise SlowConsumer(why, encode_position(position)) from cut

    async def starts(self, caller: Caller, data_source: str) -> AsyncIterator[SessionEvent]:
        """Starts of sessions of exactly this data source, from now on.

        Raises:
            SlowConsumer, JournalPutBack: as for `follow`.
        """
        async for entry in self.follow(caller, EventsWanted(data_source=data_source, types=STARTS), None):
            if journal.starts(entry.event):
                yield entry.event

    async def stops(self, caller: Caller, data_source: str) -> AsyncIterator[SessionEvent]:
        """Stops of sessions of exactly this data source, from now on.

        Raises:
            SlowConsumer, JournalPutBack: as for `follow`.
        """
        async for entry in self.follow(caller, EventsWanted(data_source=data_source, types=STOPS), None):
            if journal.stops(entry.event):
                yield entry.event

    async def _filter(self, caller: Caller, wanted: EventsWanted) -> EntryFilter:
        session_ids = None
        check_chosen("types", wanted.types, ("types",))
        check_chosen("dataSource", wanted.data_source, ("dataSource",))
        if wanted.session_id is not None:
            if not _is_open(caller, await self._session(caller, wanted.session_id)):
                raise NotFound("Session", wanted.session_id, ("sessionId",))
            session_ids = [wanted.session_id]
        # Of a session that the caller may see it may see all events: a tenant's main session has many actors.
        owner_id = None if session_ids or caller.has(Scope.TENANT_READ) else caller.owner_id
        return EntryFilter(caller.tenant_id, session_ids, owner_id, wanted.data_source, wanted.types)

    async def _check_visible(self, caller: Caller, wanted: EventsWanted) -> None:
        """Refuse to go on with a session that the caller may not see any more; of one that is gone nothing follows."""
        if wanted.session_id is not None:
            found = await self._session(caller, wanted.session_id)
            if found is not None and not caller.may_see(found):
                raise NotFound("Session", wanted.session_id, ("sessionId",))

    async def _session(self, caller: Caller, session_id: SessionId) -> Session | None:
        return (await self.store.sessions(caller.tenant_id, [session_id])).get(session_id)

    async def _position(self, after: str) -> int:
        position = decode_position(after)
        if position > await self.journal.highest_position():
            raise InvalidInput(
                "the cursor is ahead of this journal, so it is another one's, or of a time before it was put back: "
                "read anew, without `after`",
                ("after",),
            )
        return position

    async def _replay(
        self, caller: Caller, wanted: EventsWanted, chosen: EntryFilter, after: int, up_to: int
    ) -> AsyncIterator[JournalEntry]:
        while True:
            page = await self.journal.entries(chosen, after, REPLAY_PAGE, up_to)
            # Who reads a long journal takes its time: what it reads now, it must be allowed to see now.
            await self._check_visible(caller, wanted)
            for entry in page:
                yield entry
            if len(page) < REPLAY_PAGE:
                return
            after = page[-1].position


def _page(found: Sequence[JournalEntry], first: int) -> Page[JournalEntry]:
    """A page of entries, of which one more was read than it holds."""
    items = tuple(found[:first])
    return Page(items, tuple(encode_position(entry.position) for entry in items), len(found) > first, None)


def _is_open(caller: Caller, session: Session | None) -> bool:
    """Whether a session's events may be asked for by its id. Of one that is deleted the audit log tells."""
    return session is not None and session.state is not SessionState.DELETED and caller.may_see(session)


def _key(caller: Caller, wanted: EventsWanted) -> Key:
    if wanted.session_id is not None:
        return wanted.session_id
    return (caller.tenant_id,) if wanted.data_source is None else (caller.tenant_id, wanted.data_source)


def _is_wanted(entry: JournalEntry, wanted: EventsWanted) -> bool:
    return (wanted.types is None or entry.event.type in wanted.types) and wanted.data_source in (
        None,
        entry.event.data_source,
    )
