"""Owns the use cases that change a running session: its fields, its name and its title."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from subgraph.domain import sessions
from subgraph.domain.access import Caller
from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session, SessionChange, SessionPatch
from subgraph.domain.sessions.titles import TitleSource, entitle, title_by_hand, title_of_query, title_provided
from subgraph.operations.sessions import Sessions

logger = logging.getLogger(__name__)

TITLE_WAIT_SECONDS = 10.0

TitleProvider = Callable[[str], Awaitable[str]]
"""Makes a title of a query, or says why not in other words; may take long or fail."""


@dataclass(frozen=True, slots=True)
class SessionChanges:
    """Changes of the sessions of one store; without a title provider, titles are made of queries' first lines."""

    sessions: Sessions
    provide_title: TitleProvider | None = None

    async def update(
        self, caller: Caller, session_id: SessionId, patch: SessionPatch, expected_revision: int | None = None
    ) -> Session:
        """Change what is given of a session.

        Raises:
            NotFound, NotAllowed, IllegalState, SessionExpired, InvalidInput, RevisionConflict: as the rules say.
            NameTaken: the external id is another session's.
        """

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
            if (await self.sessions.get(caller, session_id)).title is not None:
                wanted, source = "", TitleSource.EXISTING
            else:
                wanted, source = await self._title_of(query)

        def decide(session: Session) -> SessionChange:
            now = self.sessions.clock()
            return entitle(session, wanted, source, actor=caller.owner_id, now=now, expected_revision=expected_revision)

        session, change = await self.sessions.change(caller, session_id, decide)
        # Somebody else's title came first.
        is_other = not change.updated and source is not TitleSource.USER
        return session, TitleSource.EXISTING if is_other else source

    async def _title_of(self, query: str) -> tuple[str, TitleSource]:
        fallback = title_of_query(query)
        if self.provide_title is None:
            return fallback, TitleSource.FALLBACK
        try:
            async with asyncio.timeout(TITLE_WAIT_SECONDS):
                title = title_provided(await self.provide_title(query))
        except Exception as error:
            # Whatever a provider fails with: a session does not go without a title for it.
            logger.warning("the title provider failed: %s", error)
            title = None
        return (fallback, TitleSource.FALLBACK) if title is None else (title, TitleSource.PROVIDER)
