"""Owns the use cases of sessions: get, the tenant's main session, and how a change is committed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from subgraph.domain import sessions
from subgraph.domain.access import Caller, require_change
from subgraph.domain.errors import Disabled, NotFound
from subgraph.domain.expiry import DEFAULTS, SessionDefaults
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session, SessionChange, SessionState
from subgraph.domain.sessions.hierarchy import check_associates
from subgraph.operations.ports import Clock
from subgraph.operations.sessions.session_ports import MainExists, SessionStore
from subgraph.operations.sessions.session_reads import SessionReads

TENANTS_REMEMBERED_MAX = 10_000
"""Tenants known to have a main session; beyond that all are forgotten, and looked up again."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """Sessions of one store."""

    store: SessionStore
    clock: Clock
    wake_relay: Callable[[], None]
    defaults: SessionDefaults = DEFAULTS
    reads: SessionReads | None = None
    """Where sessions that are only shown come from; None: from the store."""
    is_enabled: bool = True
    """Whether session management is on; while it is off, reading makes no main session."""
    _tenants_with_main: set[TenantId] = field(default_factory=set)

    async def associates(self, caller: Caller, associate_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The associates of a session to be made, by their ids.

        Raises:
            InvalidInput, NotFound: they are too many, or the caller may not see one, which is named.
        """
        check_associates(None, associate_ids)
        visible = await self.get_many(caller, associate_ids) if associate_ids else {}
        for index, associate_id in enumerate(associate_ids):
            if associate_id not in visible:
                raise NotFound("Session", associate_id, ("associateIds", str(index)))
        return visible

    async def commit(self, change: SessionChange) -> None:
        """Commit a change, and hint at it to the relay.

        Raises:
            KeyUsed, NameTaken, RevisionConflict, NotFound, Unavailable: as the store says.
        """
        await self.store.commit(change)
        self.wake_relay()

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
        """The sessions among the ids that the caller may see, in one load; decisions may be taken on them."""
        return self._visible(caller, await self.store.sessions(caller.tenant_id, session_ids))

    async def shown(self, caller: Caller, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The same to be shown, from copies where there are any: as new, but nothing to decide on."""
        source = self.store if self.reads is None else self.reads
        return self._visible(caller, await source.sessions(caller.tenant_id, session_ids))

    def _visible(self, caller: Caller, found: Mapping[SessionId, Session]) -> dict[SessionId, Session]:
        now = self.clock()
        return {
            session_id: sessions.as_of(session, now)
            for session_id, session in found.items()
            if session.state is not SessionState.DELETED and caller.may_see(session)
        }

    async def ensure_main(self, caller: Caller) -> None:
        """Create the tenant's main session if it has none. From then on it always has one, so the store is asked once.

        While session management is off, nothing is created, and a new tenant has none.
        """
        if self.is_enabled and caller.tenant_id not in self._tenants_with_main:
            await self.main(caller)
            if len(self._tenants_with_main) >= TENANTS_REMEMBERED_MAX:
                self._tenants_with_main.clear()
            self._tenants_with_main.add(caller.tenant_id)

    def forget_tenants(self) -> None:
        """Know of no tenant that it has a main session, as after SQL was put back to before it had one."""
        self._tenants_with_main.clear()

    async def main(self, caller: Caller) -> Session:
        """The tenant's main session, made on its first contact.

        Raises:
            Disabled: it has none, and session management is off.
        """
        existing = await self.store.main_session(caller.tenant_id)
        if existing is not None:
            return existing
        if not self.is_enabled:
            raise Disabled
        change = sessions.create_main(caller.tenant_id, caller.owner_id, self.clock())
        try:
            await self.store.commit(change)
        except MainExists:
            existing = await self.store.main_session(caller.tenant_id)
            assert existing is not None
            return existing
        self.wake_relay()
        return change.created[0]

    async def change(
        self,
        caller: Caller,
        session_id: SessionId,
        decide: Callable[[Session], SessionChange],
        *,
        includes_deleted: bool = False,
    ) -> tuple[Session, SessionChange]:
        """Decide what is to become of a session that the caller may change, and commit it.

        Args:
            caller: on whose behalf.
            session_id: the session.
            decide: the decision on the session as it is, which nobody else changes meanwhile.
            includes_deleted: whether the decision is one about deleted sessions, too.

        Returns:
            The session as the change leaves it, and the change: empty where nothing was to be changed.

        Raises:
            NotFound, NotAllowed: the caller may not see the session, or not change it.
            Whatever `decide` and SessionStore.commit raise.
        """

        def decide_for_caller(session: Session | None) -> SessionChange:
            if session is None or (session.state is SessionState.DELETED and not includes_deleted):
                raise NotFound("Session", session_id, ("id",))
            require_change(caller, session, session_id)
            return decide(session)

        session, change = await self.store.change(caller.tenant_id, session_id, decide_for_caller)
        if not change.updated and not change.purged:
            return sessions.as_of(session, self.clock()), change
        self.wake_relay()
        return (*change.updated, *change.purged)[0], change
