"""Owns the use cases that name an existing session: rename it, or restore it under its name or another."""

from dataclasses import dataclass

from subgraph.domain.access import Caller, require_change
from subgraph.domain.errors import NameTaken
from subgraph.domain.ids import SessionId
from subgraph.domain.naming import NameConflict, normal_name
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.sessions.session_changes import SessionChanges
from subgraph.operations.sessions.session_lifecycle import SessionLifecycle
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class SessionNaming:
    """Names of the sessions of one store, settled as the caller's policy says."""

    sessions: Sessions
    changes: SessionChanges
    lifecycle: SessionLifecycle
    names: SessionNames

    async def rename(
        self,
        caller: Caller,
        session_id: SessionId,
        display_name: str,
        name_conflict: NameConflict = NameConflict.REJECT,
        expected_revision: int | None = None,
    ) -> Session:
        """Give a session another name.

        Raises:
            NotFound, NotAllowed, IllegalState, SessionExpired, InvalidInput, RevisionConflict: as the rules say.
            NameTaken: another session bears the name, and the policy is REJECT.
        """

        async def attempt(name: str, holds_name: bool) -> Session:
            return await self.changes.rename(caller, session_id, name, expected_revision, holds_name=holds_name)

        session = await self.sessions.get(caller, session_id)
        require_change(caller, session, session_id)
        if session.is_main or normal_name(display_name) == session.display_name:
            # Its own name stands in nobody's way, and `main` keeps its: nothing is to be settled.
            try:
                return await attempt(display_name, session.holds_name)
            except NameTaken as taken:
                # It had another name by then, and this one another session.
                raise await self.names.told(caller, taken) from taken
        return await self.names.settle(caller, display_name, name_conflict, attempt)

    async def restore(
        self,
        caller: Caller,
        session_id: SessionId,
        display_name: str | None = None,
        name_conflict: NameConflict = NameConflict.REJECT,
    ) -> Session:
        """Bring a deleted session back.

        Raises:
            NotFound, NotAllowed, IllegalState, InvalidInput: as the rules say.
            NameTaken: another session bears its name by now, and the policy is REJECT; or one has its external id.
        """

        async def attempt(name: str | None, holds_name: bool) -> Session:
            return await self.lifecycle.restore(caller, session_id, name, holds_name=holds_name)

        session = (await self.sessions.store.sessions(caller.tenant_id, [session_id])).get(session_id)
        require_change(caller, session, session_id)
        assert session is not None
        if session.state is not SessionState.DELETED:
            # It is refused: nothing is to be settled.
            return await attempt(None, True)
        wanted = session.display_name if display_name is None else display_name
        keeps_its_own = display_name is None
        return await self.names.settle(caller, wanted, name_conflict, attempt, may_be_retired_main=keeps_its_own)
