"""Owns the ports of stored sessions; a contract suite for each holds adapters to it."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from subgraph.domain.idempotency import IdempotencyKey
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.prompt_session import ClientClaim
from subgraph.domain.session_list import SessionList
from subgraph.domain.session_ref import RefKind
from subgraph.domain.sessions import Session, SessionChange
from subgraph.domain.sessions.hierarchy import Family
from subgraph.operations.ports import Page

ChangeGuard = Callable[[Sequence[tuple[TenantId, SessionId]]], AbstractAsyncContextManager[None]]
"""What is entered before a change of sessions is committed, and left when it is, or was refused."""


def unguarded(_: Sequence[tuple[TenantId, SessionId]]) -> AbstractAsyncContextManager[None]:
    """Guards nothing: for stores of which nobody holds copies."""
    return nullcontext()


class SessionStore(Protocol):
    """The truth about sessions and their journal, in SQL. Every method sees one tenant only."""

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The tenant's sessions among the ids, in one query; absent and foreign ids are simply not in the answer."""
        ...

    async def main_session(self, tenant_id: TenantId) -> Session | None:
        """The tenant's main session, or None before its first contact."""
        ...

    async def commit(self, change: SessionChange) -> None:
        """Write sessions and events in one transaction, or nothing at all. The events are numbered as they are written.

        Raises:
            KeyUsed: the change's idempotency key was used before, or by another one at the same moment.
            NameTaken: another session of the tenant holds the name that one of these is to hold, or another one of the
                owner bears its external id; what is deleted bears none.
            MainExists: the tenant has a main session already (two first contacts raced): read it.
            RevisionConflict: an updated session is not at the revision before the change's, or a purged one not at
                its own.
            NotFound: an updated or purged session is not there (any more).
            Unavailable: the database did not answer, or stayed busy beyond its bound.
        """
        ...

    async def change(
        self, tenant_id: TenantId, session_id: SessionId, decide: Callable[[Session | None], SessionChange]
    ) -> tuple[Session, SessionChange]:
        """Read one of the tenant's sessions, decide, and commit, in one transaction: no other change comes between.

        So of any number of callers at once none works on what another has changed meanwhile, and none has to try again.

        Args:
            tenant_id: the tenant.
            session_id: the session.
            decide: the decision on the session as it is now, or on there being none, for which it must raise. It does
                no I/O, may run in a thread, and anew if the transaction was undone for the sake of another.

        Returns:
            The session as it was, and the change.

        Raises:
            Whatever `decide` raises; then, as `commit`.
        """
        ...


@dataclass(frozen=True, slots=True)
class RelativesWanted:
    """Which page of the sessions right above or below another: of all, or of what an owner sees."""

    above: bool
    owner_id: str | None
    first: int
    after: str | None


class SessionHierarchy(Protocol):
    """Who is an associate of whom. Every method sees one tenant only."""

    async def change_family(
        self,
        tenant_id: TenantId,
        parent_id: SessionId,
        associate_ids: Sequence[SessionId],
        decide: Callable[[Family], SessionChange],
    ) -> tuple[Session, SessionChange]:
        """Read a parent and its family, decide, and commit: of decisions at once, each sees what those before did.

        Raises:
            NotFound: the parent is not in the tenant, or deleted; associates of which that is so are no members.
            Unavailable: the database did not answer, or stayed busy beyond its bound.
            Whatever `decide` raises.
        """
        ...

    async def relatives(
        self, tenant_id: TenantId, session_ids: Sequence[SessionId], wanted: RelativesWanted
    ) -> dict[SessionId, Page[Session]]:
        """The undeleted sessions right above or below each of some, oldest first; they are not counted.

        Raises:
            InvalidInput: `after` is not a cursor of such a list.
        """
        ...

    async def count_relatives(
        self, tenant_id: TenantId, session_ids: Sequence[SessionId], *, above: bool, owner_id: str | None
    ) -> dict[SessionId, int]:
        """How many undeleted sessions are right above or below each of some: all, or what an owner sees."""
        ...


@dataclass(frozen=True, slots=True)
class SweptBatch:
    """How many sessions a batch has swept, and how that went.

    Attributes:
        count: how many.
        waited_seconds: for how long it let others go first.
        held_seconds: for how long others could not write.
        is_last: whether nothing else is due.
    """

    count: int
    waited_seconds: float
    held_seconds: float
    is_last: bool


class SessionSweeps(Protocol):
    """What time does to sessions in the store. Of many processes that sweep at once, each session is swept by one."""

    async def expire_due(self, now: datetime, limit: int, tenant_id: TenantId | None = None) -> SweptBatch:
        """Write that the time of ACTIVE sessions has run out, the longest due first, of one tenant or all.

        Returns:
            How many it were, at most `limit`.

        Raises:
            Unavailable: the database did not answer, or stayed busy beyond its bound.
        """
        ...

    async def purge_stopped(
        self, before: datetime, now: datetime, limit: int, tenant_id: TenantId | None = None
    ) -> SweptBatch:
        """Remove sessions that stopped before a moment, and all that is their own; the journal tells of it.

        Returns:
            How many it were, at most `limit`, and fewer of those of which the journal has much to forget.

        Raises:
            Unavailable: as for `expire_due`.
        """
        ...


class MainExists(Exception):
    """Two first contacts of a tenant raced; the other one made its main session."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """For which request an idempotency key was used, and which session came of it."""

    session_id: SessionId
    fingerprint: str


class KeyUsed(Exception):
    """An idempotency key was used before, or by another request at the same moment."""

    def __init__(self, use: KeyUse) -> None:
        super().__init__(use)
        self.use = use


class SessionDirectory(Protocol):
    """Sessions by what they bear, and in lists. Every method sees one tenant only."""

    async def bearing(
        self, tenant_id: TenantId, kind: RefKind, text: str, owner_id: str | None, limit: int
    ) -> list[Session]:
        """The sessions that bear an external id or a name, oldest first, and are not deleted.

        They are those of all, or those of an owner and the tenant's main session.
        """
        ...

    async def taken_names(self, tenant_id: TenantId, names: Sequence[str]) -> set[str]:
        """Those of the names that sessions bear that are not deleted."""
        ...

    async def page(self, wanted: SessionList, first: int, after: str | None) -> Page[Session]:
        """A page of a list, by keyset: it holds still while sessions come and go. `total_count` is None.

        Raises:
            InvalidInput: `after` is not a cursor of a list in this order.
        """
        ...

    async def count(self, wanted: SessionList, most: int) -> int | None:
        """How many sessions a list holds; None where it is more than `most`."""
        ...


class ClientSessions(Protocol):
    """Whose the ids are that chat clients use for their sessions; what is not used for a day is forgotten."""

    async def claim(self, tenant_id: TenantId, client_id: str, owner_id: str) -> ClientClaim:
        """Use an id on behalf of an owner: it is the first one's who does so. Two at once never both get it.

        Raises:
            Unavailable: the mapping cannot be reached.
        """
        ...


class IdempotencyKeyStore(Protocol):
    """The keys that came with mutations; they are written with what was made."""

    async def use_of(self, key: IdempotencyKey) -> KeyUse | None:
        """What a key was used for; None if it was not, or too long ago."""
        ...

    async def forget(self, used_before: datetime, limit: int) -> int:
        """Delete the oldest keys, at most so many; returns how many they were."""
        ...
