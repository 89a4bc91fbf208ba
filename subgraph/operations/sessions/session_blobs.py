"""Owns the port of the shared cache of sessions, which all processes read and in which none may find a stale copy.

A change fences its sessions before it commits to SQL: their copies are removed, and none is stored until the fence is
lifted. To fill the cache, a process claims a session's entry before it reads SQL; a fence revokes the claim, so what
was read before a change is never stored after it. None of this depends on timing, with one exception: a fence whose
process died ends after a time that no commit may take.

Invalidations are numbered and published in order. To know that its local cache is valid, a process asks for one number,
the position of the latest invalidation: if it has received all up to there, it has missed none.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from subgraph.domain.ids import ID_LENGTH_MAX, SessionId, TenantId
from subgraph.domain.sessions import Session

COPY_BYTES_MAX = 32 * 1024
"""Sessions with more JSON of their own are not cached: a cache bounded by entries is then bounded in memory."""


class SessionKey(NamedTuple):
    """A session's tenant and id. Both are part of the key, so an id alone never finds another tenant's session."""

    tenant_id: TenantId
    id: SessionId


class InvalidationPosition(msgspec.Struct, frozen=True, array_like=True):
    """How many invalidations there were in one line of them; a store that is new, or forgot, begins another line."""

    run: str
    line: str
    count: int

    def covers(self, other: "InvalidationPosition") -> bool:
        """Whether this is the other position, or a later one in the same line."""
        return (self.run, self.line) == (other.run, other.line) and self.count >= other.count


class Invalidation(msgspec.Struct, frozen=True, array_like=True):
    """A session whose copies are stale: all of them, or those below a revision."""

    tenant_id: TenantId
    id: SessionId
    below: int | None = None


class InvalidationMessage(msgspec.Struct, frozen=True, array_like=True):
    """A published message: sessions to invalidate, and its position."""

    position: InvalidationPosition
    invalidated: list[Invalidation]


@dataclass(frozen=True, slots=True)
class Copies:
    """The result of a read: cached sessions, misses claimed for filling, and sessions that are being changed."""

    sessions: Mapping[SessionId, Session]
    claimed: Collection[SessionId] = ()
    fenced: Collection[SessionId] = ()
    claim: str = ""
    unreadable: int = field(default=0)


class SessionBlobs(Protocol):
    """The shared cache. Every method raises Unavailable if the store does not answer in time."""

    async def position(self) -> InvalidationPosition:
        """The position of the latest invalidation."""
        ...

    async def read(self, run: str, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> Copies:
        """The cached sessions, in a run of the store; misses that nobody else fills are claimed for the caller."""
        ...

    async def fill(self, run: str, tenant_id: TenantId, copies: Copies, stored: Mapping[SessionId, Session]) -> None:
        """Store what SQL returned after the claim, where the claim still holds."""
        ...

    async def fence(self, keys: Sequence[SessionKey], token: str) -> None:
        """Remove sessions from the cache, let none in until `lift` with the same token, and publish that."""
        ...

    async def lift(self, keys: Sequence[SessionKey], token: str) -> None:
        """Lift a fence. If it had ended by itself, what was cached since is invalidated."""
        ...

    async def invalidate(self, invalidated: Sequence[Invalidation]) -> None:
        """Remove cached copies, and publish that. Fences stay."""
        ...


class SessionRevisions(Protocol):
    """The revisions of sessions in SQL."""

    async def revisions(self, session_ids: Sequence[SessionId]) -> dict[SessionId, int]:
        """The revisions of those that there are, of all tenants."""
        ...


def is_cacheable(text: str) -> bool:
    """Whether an id may be part of a key: of bounded length, and printable."""
    return len(text) <= ID_LENGTH_MAX and text.isprintable()


def is_small(session: Session) -> bool:
    """Whether a session is small enough for the cache; larger ones are always read from SQL."""
    return len(msgspec.json.encode((session.context, session.metadata))) <= COPY_BYTES_MAX
