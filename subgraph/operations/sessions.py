"""Owns the use cases of sessions: create, change, end, look up, list, and the tenant's main session."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from subgraph.domain import sessions
from subgraph.domain.access import Caller, require_change
from subgraph.domain.errors import NotFound, RevisionConflict
from subgraph.domain.ids import SessionId
from subgraph.domain.labels import Labels
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session, SessionChange
from subgraph.operations.ports import Clock, MainExists, Page, SessionStore

CHANGE_ATTEMPTS_MAX = 20


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions of one store."""

    store: SessionStore
    clock: Clock
    wake_relay: Callable[[], None]

    async def create(self, caller: Caller, wanted: NewSession) -> Session:
        """A new ACTIVE session of the caller's tenant.

        Raises:
            InvalidInput, NameTaken: as the rules and the store say.
        """
        await self.main(caller)
        change = sessions.create(wanted, caller.tenant_id, caller.owner_id, self.clock())
        await self.store.commit(change)
        self.wake_relay()
        return change.created[0]

    async def end(
        self,
        caller: Caller,
        session_id: SessionId,
        *,
        data_source: str | None = None,
        expected_revision: int | None = None,
    ) -> Session:
        """End a session; a second end changes nothing.

        Raises:
            NotFound, InvalidInput, RevisionConflict: as the rules say.
        """

        def decide(session: Session) -> SessionChange:
            return sessions.end(
                session,
                actor=caller.owner_id,
                now=self.clock(),
                data_source=data_source,
                expected_revision=expected_revision,
            )

        return await self._change(caller, session_id, decide, is_conditional=expected_revision is not None)

    async def update(
        self,
        caller: Caller,
        session_id: SessionId,
        *,
        required_labels: Labels | None = None,
        expected_revision: int | None = None,
    ) -> Session:
        """Change what is given of a session.

        Raises:
            NotFound, IllegalState, InvalidInput, RevisionConflict: as the rules say.
        """

        def decide(session: Session) -> SessionChange:
            return sessions.update(
                session,
                actor=caller.owner_id,
                now=self.clock(),
                required_labels=required_labels,
                expected_revision=expected_revision,
            )

        return await self._change(caller, session_id, decide, is_conditional=expected_revision is not None)

    async def get(self, caller: Caller, session_id: SessionId) -> Session:
        """One session that the caller may see.

        Raises:
            NotFound: there is none of that id for this caller.
        """
        found = await self.get_many(caller, [session_id])
        if session_id not in found:
            raise NotFound("Session", session_id, ("id",))
        return found[session_id]

    async def get_many(self, caller: Caller, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The sessions among the ids that the caller may see, in one load."""
        found = await self.store.sessions(caller.tenant_id, session_ids)
        return {session_id: session for session_id, session in found.items() if caller.may_see(session)}

    async def current(self, caller: Caller, data_source: str | None, first: int, after: str | None) -> Page[Session]:
        """ACTIVE sessions, newest first."""
        await self.main(caller)
        return await self.store.current_sessions(caller.tenant_id, data_source, first, after)

    async def main(self, caller: Caller) -> Session:
        """The tenant's main session, made on its first contact."""
        existing = await self.store.main_session(caller.tenant_id)
        if existing is not None:
            return existing
        change = sessions.create_main(caller.tenant_id, caller.owner_id, self.clock())
        try:
            await self.store.commit(change)
        except MainExists:
            existing = await self.store.main_session(caller.tenant_id)
            assert existing is not None
            return existing
        self.wake_relay()
        return change.created[0]

    async def _change(
        self,
        caller: Caller,
        session_id: SessionId,
        decide: Callable[[Session], SessionChange],
        *,
        is_conditional: bool,
    ) -> Session:
        for attempt in range(CHANGE_ATTEMPTS_MAX):
            session = await self.get(caller, session_id)
            require_change(caller, session, session_id)
            change = decide(session)
            if not change.updated:
                return session
            try:
                await self.store.commit(change)
            except RevisionConflict:
                # Without an expectation of the caller's, the change applies to whatever the session is by now.
                if is_conditional or attempt == CHANGE_ATTEMPTS_MAX - 1:
                    raise
                continue
            self.wake_relay()
            return change.updated[0]
        raise AssertionError("the last attempt returns or raises")
