"""Owns the use cases of the hierarchy of sessions: associate, dissociate, and who is above and below one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from subgraph.domain.access import Caller, Scope, require_change
from subgraph.domain.errors import NotFound
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session, SessionChange, as_of
from subgraph.domain.sessions.hierarchy import Family, associate, check_associates, dissociate
from subgraph.operations.ports import Clock, Page
from subgraph.operations.sessions.session_ports import RelativesWanted, SessionHierarchy


@dataclass(frozen=True, slots=True)
class SessionFamilies:
    """The hierarchy of the sessions of one store."""

    hierarchy: SessionHierarchy
    clock: Clock
    wake_relay: Callable[[], None]

    async def associate(
        self,
        caller: Caller,
        parent_id: SessionId,
        associate_ids: Sequence[SessionId],
        expected_revision: int | None = None,
    ) -> Session:
        """Make sessions associates of a parent, and answer the parent.

        Raises:
            NotFound: the caller may not see one of them.
            NotAllowed: it may not change the parent.
            IllegalState, SessionExpired, InvalidInput, RevisionConflict: as the rules say.
        """

        def decide(family: Family) -> SessionChange:
            self._check(caller, family, associate_ids)
            return associate(
                family, associate_ids, actor=caller.owner_id, now=self.clock(), expected_revision=expected_revision
            )

        return await self._change(caller, parent_id, associate_ids, decide)

    async def dissociate(
        self,
        caller: Caller,
        parent_id: SessionId,
        associate_ids: Sequence[SessionId],
        expected_revision: int | None = None,
    ) -> Session:
        """Have sessions be associates of a parent no more, and answer the parent.

        Raises:
            As for `associate`.
        """

        def decide(family: Family) -> SessionChange:
            self._check(caller, family, associate_ids)
            return dissociate(
                family, associate_ids, actor=caller.owner_id, now=self.clock(), expected_revision=expected_revision
            )

        return await self._change(caller, parent_id, associate_ids, decide)

    async def relatives(
        self, caller: Caller, session_ids: Sequence[SessionId], *, above: bool, first: int, after: str | None
    ) -> dict[SessionId, Page[Session]]:
        """Those of the sessions right above or below each of some that the caller may see, oldest first, not counted.

        Raises:
            InvalidInput: `after` is not a cursor of such a list.
        """
        wanted = RelativesWanted(above, _seen_by(caller), first, after)
        pages = await self.hierarchy.relatives(caller.tenant_id, session_ids, wanted)
        now = self.clock()
        return {
            session_id: replace(page, items=tuple(as_of(one, now) for one in page.items))
            for session_id, page in pages.items()
        }

    async def count_relatives(
        self, caller: Caller, session_ids: Sequence[SessionId], *, above: bool
    ) -> dict[SessionId, int]:
        """How many sessions right above or below each of some the caller may see."""
        return await self.hierarchy.count_relatives(
            caller.tenant_id, session_ids, above=above, owner_id=_seen_by(caller)
        )

    def _check(self, caller: Caller, family: Family, associate_ids: Sequence[SessionId]) -> None:
        require_change(caller, family.parent, family.parent.id, ("parentId",))
        for index, associate_id in enumerate(associate_ids):
            # What is not there and what may not be seen are told alike, also of which comes first.
            member = family.members.get(associate_id)
            if member is None or not caller.may_see(member):
                raise NotFound("Session", associate_id, ("associateIds", str(index)))

    async def _change(
        self,
        caller: Caller,
        parent_id: SessionId,
        associate_ids: Sequence[SessionId],
        decide: Callable[[Family], SessionChange],
    ) -> Session:
        # Before the database has them: what waits behind this transaction waits for all of them.
        # Only how many: which ones they are is told after the parent was looked up, or strangers would learn of it.
        check_associates(None, associate_ids)
        parent, change = await self.hierarchy.change_family(caller.tenant_id, parent_id, associate_ids, decide)
        if not change.updated:
            return parent
        self.wake_relay()
        return change.updated[0]


def _seen_by(caller: Caller) -> str | None:
    return None if caller.has(Scope.TENANT_READ) else caller.owner_id
