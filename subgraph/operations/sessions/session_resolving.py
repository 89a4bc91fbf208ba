"""Owns how a chat client gets its session: the one it had under its id, or a new one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from subgraph.domain import sessions
from subgraph.domain.access import Caller
from subgraph.domain.errors import (
    IllegalState,
    NameTaken,
    NotFound,
    RevisionConflict,
    SessionExpired,
    Unavailable,
)
from subgraph.domain.new_session import NewSession
from subgraph.domain.prompt_session import (
    MAPPING_TTL,
    ClientClaim,
    PromptMessage,
    check_client_id,
    check_messages,
    collision_id,
    derived_id,
)
from subgraph.domain.session_ref import CANDIDATES_MAX, RefKind
from subgraph.domain.sessions import Session, SessionState, as_of
from subgraph.operations.sessions.session_ports import ClientSessions, SessionDirectory
from subgraph.operations.sessions.sessions import Sessions

ATTEMPTS_MAX = 20
"""Each attempt that fails is one that another call for the same id has won."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """A client's session, and the id under which the client finds it again."""

    session: Session
    client_id: str
    is_new: bool
    was_collision: bool
    message_count: int


@dataclass(frozen=True, slots=True)
class SessionResolving:
    """Sessions of chat clients. A client's id is the external id of its session."""

    sessions: Sessions
    directory: SessionDirectory
    clients: ClientSessions
    new_suffix: Callable[[], str]
    """Eight hexadecimal digits that nobody can guess."""

    async def resolve(self, caller: Caller, client_id: str | None, messages: Sequence[PromptMessage]) -> Resolved:
        """The caller's session under an id, touched; or a new one.

        Where no id is given, it is derived from the caller and the prompt. An id that is another owner's, because that
        one used it within the last day, becomes a new one. A session of the caller's that has stopped gives its id up.

        Raises:
            InvalidInput: the id is malformed, or absent with nothing to derive it from; the messages are too many.
            Unavailable: the mapping of ids cannot be reached, or others kept changing the same session.
        """
        check_messages(messages)
        if client_id is None:
            client_id = derived_id(caller.owner_id, messages)
        check_client_id(client_id)
        await self.sessions.main(caller)
        was_collision, claims = False, dict[str, ClientClaim]()
        for _ in range(ATTEMPTS_MAX):
            own, is_others = await self._bearing(caller, client_id)
            # Two first calls of two owners come to different ids: the mapping is the first one's.
            if not is_others and client_id not in claims:
                # Once: it counts the prompt.
                claims[client_id] = await self.clients.claim(caller.tenant_id, client_id, caller.owner_id)
            claim = None if is_others else claims[client_id]
            if own is None and (claim is None or claim.owner_id != caller.owner_id):
                client_id, was_collision = collision_id(self.new_suffix()), True
                continue
            try:
                session = await self._made(caller, client_id, own)
            except (IllegalState, NameTaken, NotFound, RevisionConflict, SessionExpired):
                # Another call came first: it made the session, or had it stop.
                continue
            is_new = own is None or session.id != own.id
            # What an owner has is its own, also where a mapping that was lost has come to be another one's.
            count = claim.message_count if claim is not None and claim.message_count else 1
            return Resolved(session, client_id, is_new, was_collision, count)
        raise Unavailable(f"others keep changing the session of {client_id!r}", retry_after_seconds=1.0)

    async def _bearing(self, caller: Caller, client_id: str) -> tuple[Session | None, bool]:
        """The caller's session under an id; and whether it is another owner's, as far as the sessions tell."""
        now = self.sessions.clock()
        # The caller's own first: among those of all there may be more than are looked at.
        for owner_id in (caller.owner_id, None):
            found = await self.directory.bearing(
                caller.tenant_id, RefKind.EXTERNAL_ID, client_id, owner_id, CANDIDATES_MAX
            )
            # Also the second time: another call of the caller's may have made it in between.
            for session in found:
                if session.owner_id == caller.owner_id:
                    return as_of(session, now), False
        lately = now - MAPPING_TTL
        used = [one for one in found if as_of(one, now).state is SessionState.ACTIVE and one.last_active_at > lately]
        return None, bool(used)

    async def _made(self, caller: Caller, client_id: str, own: Session | None) -> Session:
        now = self.sessions.clock()
        if own is not None and own.state is SessionState.ACTIVE:
            touched, _ = await self.sessions.change(
                caller, own.id, lambda session: sessions.touch(session, actor=caller.owner_id, now=now)
            )
            return touched
        wanted = NewSession(external_id=client_id)
        change = sessions.create(wanted, caller.tenant_id, caller.owner_id, now, self.sessions.defaults)
        stored = await self.sessions.store.sessions(caller.tenant_id, [] if own is None else [own.id])
        for former in stored.values():
            if own is not None and former.revision != own.revision:
                # It may have been revived since it was looked for, and then it keeps its id.
                raise RevisionConflict(former.id, former.revision)
            freed = sessions.release_external_id(former, actor=caller.owner_id, now=now)
            change = replace(change, updated=freed.updated, events=(*freed.events, *change.events))
        await self.sessions.commit(change)
        return change.created[0]
