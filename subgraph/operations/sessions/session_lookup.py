"""Owns how sessions are looked up and listed: what a reference means, and what of a list a caller sees."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from subgraph.domain.access import Caller, Scope
from subgraph.domain.errors import SessionExpired
from subgraph.domain.ids import SessionId
from subgraph.domain.naming import normal_name
from subgraph.domain.session_list import COUNTED_MAX, SessionFilter, SessionList, SessionOrder, list_for
from subgraph.domain.session_ref import CANDIDATES_MAX, RefKind, SessionRef, own_first, the_one
from subgraph.domain.sessions import Session, SessionState, as_of
from subgraph.operations.ports import Clock, Page
from subgraph.operations.sessions.session_ports import SessionDirectory
from subgraph.operations.sessions.sessions import Sessions


@dataclass(frozen=True, slots=True)
class SessionLookup:
    """Sessions as callers find them."""

    sessions: Sessions
    directory: SessionDirectory
    clock: Clock

    async def one(self, caller: Caller, ref: SessionRef) -> Session | None:
        """The session that a reference means to a caller; None: there is none for it.

        Raises:
            NameAmbiguous: there are several; the first step at which there are any decides.
            SessionExpired: it has expired, and the caller may see it.
        """
        for step in ref.steps:
            found = the_one(await self._found(caller, step, ref.text), ref.text)
            if found is not None:
                if found.state is SessionState.EXPIRED:
                    raise SessionExpired(found.id, found.expires_at or found.updated_at, ("ref",))
                return found
        return None

    async def listed(self, caller: Caller, wanted: SessionFilter, order: SessionOrder) -> SessionList | None:
        """The list that a caller asks for; None: it can hold nothing.

        Raises:
            InvalidInput: a value is malformed or beyond a limit.
        """
        await self.sessions.ensure_main(caller)
        return list_for(caller, wanted, order, self.clock())

    async def page(self, wanted: SessionList | None, first: int, after: str | None) -> Page[Session]:
        """A page of a list.

        Raises:
            InvalidInput: `after` is not a cursor of a list in this order.
        """
        if wanted is None:
            return Page((), (), False, 0)
        page = await self.directory.page(wanted, first, after)
        return replace(page, items=tuple(as_of(session, wanted.now) for session in page.items))

    async def count(self, wanted: SessionList | None) -> int | None:
        """How many sessions a list holds: exact, or None where there are more than `COUNTED_MAX`."""
        return 0 if wanted is None else await self.directory.count(wanted, COUNTED_MAX)

    async def _found(self, caller: Caller, step: RefKind, text: str) -> Sequence[Session]:
        if step is RefKind.ID:
            found = await self.sessions.shown(caller, [SessionId(text)])
            return list(found.values())
        sees_only = None if caller.has(Scope.TENANT_READ) else caller.owner_id
        if step is RefKind.DISPLAY_NAME:
            text = normal_name(text)
        bearing = await self.directory.bearing(caller.tenant_id, step, text, sees_only, CANDIDATES_MAX + 1)
        now = self.clock()
        visible = [as_of(session, now) for session in bearing if caller.may_see(session)]
        return own_first(visible, caller.owner_id) if step is RefKind.EXTERNAL_ID else visible
