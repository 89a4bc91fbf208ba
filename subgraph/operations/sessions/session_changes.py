"""Owns the use cases that change a running session: its fields, its name and its title."""

from dataclasses import dataclass, field

from subgraph.domain import sessions
from subgraph.domain.access import Caller, require_change
from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session, SessionChange, SessionPatch
from subgraph.domain.sessions.titles import TitleSource, entitle, title_by_hand, title_of_query
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.sessions.title_making import TitleMaking


@dataclass(frozen=True, slots=True)
class SessionChanges:
    """Changes of the sessions of one store."""

    sessions: Sessions
    titles: TitleMaking = field(default_factory=TitleMaking)

    async def update(
        self, caller: Caller, session_id: SessionId, patch: SessionPatch, expected_revision: int | None = None
    ) -> Session:
        """Change what is given of a session.

        Raises:
            NotFound, NotAllowed, IllegalState, SessionExpired, InvalidInput, RevisionConflict: as the rules say.
            NameTaken: the external id is another session's.
        """
        # Before the database has it: what waits behind a transaction waits for all that is done in it.
        sessions.check_patch(patch)

        def decide(session: Session) -> SessionChange:
            now = self.sessions.clock()
            return sessions.update(session, patch, actor=caller.owner_id, now=now, expected_revision=expected_revision)

        updated, _ = await self.sessions.change(caller, session_id, decide)
        return updated

    async def rename(
        self,
        caller: Caller,
        session_id: SessionId,
        display_name: str,
        expected_revision: int | None = None,
        *,
        holds_name: bool = True,
    ) -> Session:
        """Give a session another name, which it holds alone or shares.

        Raises:
            NotFound, NotAllowed, IllegalState, SessionExpired, InvalidInput, RevisionConflict: as the rules say.
            NameTaken: another session holds the name that this one is to hold.
        """

        def decide(session: Session) -> SessionChange:
            return sessions.rename(
                session,
                display_name,
                actor=caller.owner_id,
                now=self.sessions.clock(),
                expected_revision=expected_revision,
                holds_name=holds_name,
            )

        renamed, _ = await self.sessions.change(caller, session_id, decide)
        return renamed

    async def entitle(
        self,
        caller: Caller,
        session_id: SessionId,
        *,
        title: str | None = None,
        query: str | None = None,
        expected_revision: int | None = None,
    ) -> tuple[Session, TitleSource]:
        """Give a session a title: one set by hand, or one made of a query if it has none.

        Raises:
            NotFound, NotAllowed, IllegalState, SessionExpired, RevisionConflict: as the rules say.
            InvalidInput: not exactly one of title and query is given, or no title can be made of it.
        """
        if (title is None) == (query is None):
            raise InvalidInput("give either a title or a query", ("title",))
        if title is not None:
            wanted, source = title_by_hand(title), TitleSource.USER
        else:
            assert query is not None
            wanted, source = await self._title_made(caller, session_id, query, expected_revision)

        def decide(session: Session) -> SessionChange:
            now = self.sessions.clock()
            return entitle(session, wanted, source, actor=caller.owner_id, now=now, expected_revision=expected_revision)

        session, change = await self.sessions.change(caller, session_id, decide)
        # Somebody else's title came first.
        is_other = not change.updated and source is not TitleSource.USER
        return session, TitleSource.EXISTING if is_other else source

    async def _title_made(
        self, caller: Caller, session_id: SessionId, query: str, expected_revision: int | None
    ) -> tuple[str, TitleSource]:
        session = await self.sessions.get(caller, session_id)
        if session.title is not None:
            return session.title, TitleSource.EXISTING
        # Decided for once with the title that needs no provider: what is refused anyway is shown to none.
        require_change(caller, session, session_id)
        fallback, source, now = title_of_query(query), TitleSource.FALLBACK, self.sessions.clock()
        entitle(session, fallback, source, actor=caller.owner_id, now=now, expected_revision=expected_revision)
        return await self.titles.title_of(query)
