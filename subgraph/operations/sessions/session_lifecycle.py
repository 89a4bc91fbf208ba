"""Owns the use cases of a session's lifecycle: end, extend, delete, restore."""

from dataclasses import dataclass
from datetime import timedelta

from subgraph.domain import sessions
from subgraph.domain.access import Caller
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session, SessionChange
from subgraph.operations.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Deletion:
    """A session that is deleted, for good or not, and the main session that follows it if it was one."""

    session: Session
    is_purged: bool
    new_main: Session | None


@dataclass(frozen=True, slots=True)
class SessionLifecycle:
    """The lifecycle of the sessions of one store."""

    sessions: Sessions

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
            NotFound, NotAllowed, InvalidInput, SessionExpired, RevisionConflict: as the rules say.
        """

        def decide(session: Session) -> SessionChange:
            return sessions.end(
                session,
                actor=caller.owner_id,
                now=self.sessions.clock(),
                data_source=data_source,
                expected_revision=expected_revision,
                defaults=self.sessions.defaults,
            )

        ended, _ = await self.sessions.change(caller, session_id, decide)
        return ended

    async def extend(
        self, caller: Caller, session_id: SessionId, ttl: timedelta, expected_revision: int | None = None
    ) -> Session:
        """Have a session expire a TTL from now; one that has expired is revived.

        Raises:
            NotFound, NotAllowed, InvalidInput, IllegalState, RevisionConflict: as the rules say.
        """

        def decide(session: Session) -> SessionChange:
            now = self.sessions.clock()
            return sessions.extend(session, ttl, actor=caller.owner_id, now=now, expected_revision=expected_revision)

        extended, _ = await self.sessions.change(caller, session_id, decide)
        return extended

    async def delete(
        self, caller: Caller, session_id: SessionId, *, purge: bool = False, expected_revision: int | None = None
    ) -> Deletion:
        """Delete a session, or remove it for good; a second deletion changes nothing.

        Raises:
            NotFound, NotAllowed, RevisionConflict: as the rules say.
        """

        def decide(session: Session) -> SessionChange:
            actor, now, defaults = caller.owner_id, self.sessions.clock(), self.sessions.defaults
            if purge:
                return sessions.purge(session, actor=actor, now=now, expected_revision=expected_revision)
            return sessions.delete(
                session, actor=actor, now=now, expected_revision=expected_revision, defaults=defaults
            )

        session, change = await self.sessions.change(caller, session_id, decide, includes_deleted=True)
        return Deletion(session, bool(change.purged), change.created[0] if change.created else None)

    async def restore(
        self, caller: Caller, session_id: SessionId, display_name: str | None = None, *, holds_name: bool = True
    ) -> Session:
        """Bring a deleted session back, under its name or another one, which it holds alone or shares.

        Raises:
            NotFound, NotAllowed, IllegalState, InvalidInput: as the rules say.
            NameTaken: another session holds the name that this one is to hold, or has its external id by now.
        """

        def decide(session: Session) -> SessionChange:
            return sessions.restore(
                session,
                actor=caller.owner_id,
                now=self.sessions.clock(),
                display_name=display_name,
                holds_name=holds_name,
            )

        restored, _ = await self.sessions.change(caller, session_id, decide, includes_deleted=True)
        return restored
