"""Owns name conflicts: a name that is taken is refused, numbered or shared, also when callers race."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

from subgraph.domain.access import Caller
from subgraph.domain.errors import NameTaken
from subgraph.domain.ids import SessionId
from subgraph.domain.naming import NameConflict, check_name, is_retired_main, normal_name, numbered, retired_main_name
from subgraph.domain.session_ref import RefKind
from subgraph.domain.sessions import SessionState, as_of
from subgraph.operations.ports import Clock
from subgraph.operations.sessions.session_ports import SessionDirectory, SessionStore

ATTEMPTS_MAX = 100
"""So many others may take a number first: each attempt that fails is one that another caller won."""
NAMES_AT_FIRST = 100

T = TypeVar("T")
Attempt = Callable[[str, bool], Awaitable[T]]
"""Commits with a name, held or shared; raises NameTaken where another session holds it."""


@dataclass(frozen=True, slots=True)
class SessionNames:
    """The names of the sessions of one store. What holds under races is the store's unique index."""

    store: SessionStore
    directory: SessionDirectory
    clock: Clock

    async def settle(
        self,
        caller: Caller,
        name: str,
        policy: NameConflict,
        attempt: Attempt[T],
        *,
        may_be_retired_main: bool = False,
    ) -> T:
        """Commit with a name, or what the policy makes of it where another session of the tenant bears it.

        Args:
            caller: on whose behalf.
            name: the name that is wanted.
            policy: what to do where it is taken.
            attempt: what commits.
            may_be_retired_main: whether the name may be one of former main sessions, but for the one to which the
                present main is to retire.

        Raises:
            NameTaken: the policy is REJECT, or all numbers are taken; the other session is named to who may see it.
            InvalidInput: no session can be called so.
        """
        name = normal_name(name)
        if is_retired_main(name) and may_be_retired_main:
            main = await self.store.main_session(caller.tenant_id)
            # No other session becomes main but one that is made as it, so none but this one's has to stay free.
            may_be_retired_main = main is None or name != retired_main_name(main.id)
        check_name(name, may_be_retired_main=may_be_retired_main)
        try:
            match policy:
                case NameConflict.REJECT:
                    return await self._reject(caller, name, attempt)
                case NameConflict.SUFFIX:
                    return await self._suffix(caller, name, attempt)
                case NameConflict.ALLOW:
                    return await self._allow(name, attempt)
        except NameTaken as taken:
            raise await self.told(caller, taken) from taken

    async def told(self, caller: Caller, taken: NameTaken) -> NameTaken:
        """The failure as the caller may know it: of the other session only what it may see."""
        holder_id = SessionId(taken.conflicting_id or "")
        holder = (await self.store.sessions(caller.tenant_id, [holder_id])).get(holder_id)
        if holder is None or not caller.may_see(holder):
            return NameTaken(taken.display_name, None, taken.path)
        has_expired = as_of(holder, self.clock()).state is SessionState.EXPIRED
        return NameTaken(taken.display_name, holder.id, taken.path, has_expired=has_expired)

    async def _reject(self, caller: Caller, name: str, attempt: Attempt[T]) -> T:
        # Who shares a name does not hold it, so the index knows nothing of it.
        bearing = await self.directory.bearing(caller.tenant_id, RefKind.DISPLAY_NAME, name, None, 1)
        if bearing:
            raise NameTaken(name, bearing[0].id, ("displayName",))
        return await attempt(name, True)

    async def _suffix(self, caller: Caller, name: str, attempt: Attempt[T]) -> T:
        for _ in range(ATTEMPTS_MAX):
            candidate = await self._first_free(caller, name)
            try:
                return await attempt(candidate, True)
            except NameTaken as taken:
                if taken.path != ("displayName",):
                    raise
        raise NameTaken(name, None, ("displayName",))

    async def _allow(self, name: str, attempt: Attempt[T]) -> T:
        try:
            return await attempt(name, True)
        except NameTaken as taken:
            if taken.path != ("displayName",):
                raise
            return await attempt(name, False)

    async def _first_free(self, caller: Caller, name: str) -> str:
        # Mostly one of the first is free. Where none is, one more look sees all others: each look is a round trip.
        candidates = numbered(name)
        for some in ([*islice(candidates, NAMES_AT_FIRST)], [*candidates]):
            taken = await self.directory.taken_names(caller.tenant_id, some)
            for candidate in some:
                if candidate not in taken:
                    return candidate
        raise NameTaken(name, None, ("displayName",))
