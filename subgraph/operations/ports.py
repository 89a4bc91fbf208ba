"""Owns the promises about sessions and events that adapters keep; one contract suite per port holds them to it."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.idempotency import IdempotencyKey
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.prompt_session import ClientClaim
from subgraph.domain.registration import RegisteredCells, RegisteredCoverage
from subgraph.domain.session_list import SessionList
from subgraph.domain.session_ref import RefKind
from subgraph.domain.sessions import Session, SessionChange
from subgraph.domain.sessions.hierarchy import Family

Clock = Callable[[], datetime]
"""The wall clock, in UTC. Leases never use it: they live by Redis time and by the pod's own boot clock."""

MonotonicClock = Callable[[], float]
"""Seconds that only rise, from no particular start: for how long something has waited in this process."""

NewToken = Callable[[], str]
"""A text that nobody can guess, another one at every call."""

ChangeGuard = Callable[[Sequence[tuple[TenantId, SessionId]]], AbstractAsyncContextManager[None]]
"""What is entered before a change of sessions is committed, and left when it is, or was refused."""

T = TypeVar("T")


def unguarded(_: Sequence[tuple[TenantId, SessionId]]) -> AbstractAsyncContextManager[None]:
    """Guards nothing: for stores of which nobody holds copies."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A stretch of a list in a stable order; `cursor_of` of an item resumes after it."""

    items: tuple[T, ...]
    cursors: tuple[str, ...]
    has_next: bool
    total_count: int | None


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
        self,
        tenant_id: TenantId,
        session_id: SessionId,
        *,
        above: bool,
        owner_id: str | None,
        first: int,
        after: str | None,
    ) -> Page[Session]:
        """The undeleted sessions right above or below one, all or what an owner sees, oldest first; the count is exact.

        Raises:
            InvalidInput: `after` is not a cursor of such a list.
        """
        ...


class SessionSweeps(Protocol):
    """What time does to sessions in the store. Of many processes that sweep at once, each session is swept by one."""

    async def expire_due(self, now: datetime, limit: int, tenant_id: TenantId | None = None) -> int:
        """Write that the time of ACTIVE sessions has run out, the longest due first, of one tenant or all.

        Returns:
            How many there were, at most `limit`.

        Raises:
            Unavailable: the database did not answer, or stayed busy beyond its bound.
        """
        ...

    async def purge_stopped(
        self, before: datetime, now: datetime, limit: int, tenant_id: TenantId | None = None
    ) -> int:
        """Remove sessions that stopped before a moment, and all that is their own; the journal tells of it.

        Returns:
            How many there were, at most `limit`.

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


@dataclass(frozen=True, slots=True)
class ActiveCoverage:
    """What is registered of an ACTIVE session, whose session it is, and what it requires of all its tiles."""

    tenant_id: TenantId
    requirement: SessionRequirement
    coverage: RegisteredCoverage


class StandingCoverage(Protocol):
    """What is registered of the coverage of sessions that there are, many at a time."""

    async def active_sessions(self) -> list[SessionId]:
        """The ACTIVE sessions of which anything is registered."""
        ...

    async def standing(self, session_ids: Sequence[SessionId]) -> dict[SessionId, ActiveCoverage | None]:
        """What is registered of the sessions that there are; None for one that is not ACTIVE."""
        ...


class CoverageRegister(Protocol):
    """What is registered of sessions' coverage: its truth, in SQL. The tiles in the live store follow it."""

    async def of_session(self, session_id: SessionId) -> RegisteredCoverage:
        """All that is registered of a session, whatever became of it."""
        ...

    async def add(
        self, session_id: SessionId, cells: RegisteredCells, expected_revision: int, actor: str | None = None
    ) -> int:
        """Register cells of a session, durably, as long as its coverage is at a revision, and tell the journal who did.

        Returns:
            The revision from then on.

        Raises:
            CoverageChanged: it is at another one by now; nothing was registered.
            NotFound, IllegalState, SessionExpired: the session is absent or not ACTIVE; nothing was registered.
        """
        ...

    async def remove(self, session_id: SessionId, cells: CellArray, expected_revision: int, actor: str) -> int:
        """Take cells out of what is registered of a session, durably, and tell the journal who did.

        Args:
            session_id: the session.
            cells: of which none lies inside another. Of a registered cell that contains some, the rest stays.
            expected_revision: of the coverage that this was decided on.
            actor: who wants it.

        Returns:
            The revision from then on; 0 if nothing is left.

        Raises:
            CoverageChanged: the coverage is at another revision by now; nothing was taken out.
        """
        ...

    async def revision(self, session_id: SessionId) -> int:
        """The revision of a session's coverage, without the coverage."""
        ...


class CoverageChanged(Exception):
    """Something else was registered of the session in the meantime: look again, and decide anew."""


class FleetRegister(Protocol):
    """What of the fleet must outlive Redis: its incarnation, in SQL."""

    async def incarnation(self, fleet_id: str) -> int:
        """The current incarnation; 0 for a fleet nobody has led yet."""
        ...

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        """Raise the incarnation, durably, and return the new one: no two callers ever get the same.

        Args:
            fleet_id: the fleet.
            above: the new one is above this, too.

        Raises:
            Unavailable: SQL did not confirm. Then nobody may lead.
        """
        ...


class EventBus(Protocol):
    """Best-effort, at-once delivery of small messages between processes. Who needs certainty reads the store."""

    async def publish(self, channel: str, message: bytes) -> None:
        """Hand the message to every subscriber of the channel, in every process.

        Raises:
            Unavailable: the bus did not take it.
        """
        ...

    def subscribe(self, channel: str) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Messages published after entry. The iterator ends by raising SlowConsumer when its bounded buffer is full."""
        ...


class SlowConsumer(Exception):
    """A subscriber read too slowly and its bounded buffer filled: it is cut off and should subscribe again.

    `after`: the cursor behind which it goes on without a gap, of streams that can be resumed.
    """

    def __init__(self, message: str, after: str | None = None) -> None:
        super().__init__(message)
        self.after = after
