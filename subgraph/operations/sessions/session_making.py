"""Owns how a session is created: under a name by the policy on conflicts, and once per idempotency key."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from subgraph.domain import sessions
from subgraph.domain.access import Caller
from subgraph.domain.errors import NameTaken, NotFound
from subgraph.domain.idempotency import NO_KEY, IdempotencyKey, OnceKey
from subgraph.domain.ids import SessionId
from subgraph.domain.naming import NameConflict
from subgraph.domain.new_session import NewSession
from subgraph.domain.registration import NewCoverage
from subgraph.domain.sessions import Session, SessionChange
from subgraph.operations.sessions.idempotency import Idempotency
from subgraph.operations.sessions.session_names import SessionNames
from subgraph.operations.sessions.sessions import Sessions

UNNAMED_ATTEMPTS_MAX = 10
"""A made-up name is eight digits of a new id: that it is taken, and again, is rarer than all else that may happen."""

Decide = Callable[[str | None], SessionChange]
"""What makes the session, under a name."""
Prepare = Callable[[], Awaitable[Decide]]
"""Looks whether all is there that the session is made of. It is not asked where the key came before."""


@dataclass(frozen=True, slots=True)
class MadeSession:
    """A session, and whether it was made just now, or with its key before."""

    session: Session
    is_new: bool


@dataclass(frozen=True, slots=True)
class SessionMaking:
    """New sessions of one store."""

    sessions: Sessions
    names: SessionNames
    idempotency: Idempotency

    async def create(
        self, caller: Caller, wanted: NewSession, once: OnceKey = NO_KEY, coverage: NewCoverage | None = None
    ) -> MadeSession:
        """A new ACTIVE session of the caller's tenant, or the one that was made with this key before.

        Its coverage is registered with it, whose tiles are for the caller to have made.

        Raises:
            InvalidInput, NameTaken: as the rules and the policy on names say.
            NotFound: the caller may not see one of the associates, or what was made with this key is gone by now.
        """
        await self.sessions.ensure_main(caller)

        async def prepare() -> Decide:
            members = await self.sessions.associates(caller, wanted.associate_ids)

            def decide(name: str | None) -> SessionChange:
                named = replace(wanted, display_name=name)
                now, defaults = self.sessions.clock(), self.sessions.defaults
                change = sessions.create(named, caller.tenant_id, caller.owner_id, now, defaults, members=members)
                return replace(change, coverage=coverage)

            return decide

        return await self.make(caller, "createSession", once, wanted.display_name, wanted.name_conflict, prepare)

    async def make(
        self,
        caller: Caller,
        operation: str,
        once: OnceKey,
        name: str | None,
        name_conflict: NameConflict,
        prepare: Prepare,
        *,
        may_be_retired_main: bool = False,
    ) -> MadeSession:
        """The session that is decided on under the name that the policy comes to, once per key of an operation.

        Its name may be one of former main sessions as `SessionNames.settle` says.

        Raises:
            InvalidInput, NameTaken: as `prepare`, what it comes to, the rules and the policy on names say.
            NotFound: what was made with this key is gone by now.
        """
        new: dict[SessionId, Session] = {}

        async def make(key: IdempotencyKey | None) -> SessionId:
            decide = await prepare()

            async def attempt(name: str | None, holds_name: bool) -> SessionId:
                change = decide(name)
                made = replace(change.created[0], holds_name=holds_name)
                await self.sessions.commit(replace(change, created=(made,), key=key))
                new[made.id] = made
                return made.id

            if name is not None:
                return await self.names.settle(
                    caller, name, name_conflict, attempt, may_be_retired_main=may_be_retired_main
                )
            for _ in range(UNNAMED_ATTEMPTS_MAX):
                try:
                    return await attempt(None, True)
                except NameTaken as taken:
                    if taken.path != ("displayName",):
                        raise await self.names.told(caller, taken) from taken
            raise NameTaken("session-…", None, ("displayName",))

        made_id = await self.idempotency.once(caller, operation, once.text, once.fingerprint, make)
        if made_id in new:
            return MadeSession(new[made_id], is_new=True)
        try:
            return MadeSession(await self.sessions.get(caller, made_id), is_new=False)
        except NotFound as gone:
            raise NotFound("Session", made_id, ("idempotencyKey",)) from gone
