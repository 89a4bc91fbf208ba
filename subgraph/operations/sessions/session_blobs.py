"""Owns the promises about copies of sessions in the live store, which every process reads and none may find stale.

A change fences its sessions before it is committed to SQL: their copies are gone, and none is made until the fence is
lifted. Who makes a copy claims its place first and reads SQL then; a fence takes the claim away, so what was read
before a change never arrives after it. Nothing here depends on how long anything takes, or on any clock but one:
a fence ends by itself after a time that no commit may take.

The fences are numbered, and announced in that order. So a process knows what its own copies are worth by asking for one
number: as many announcements as it has heard, or more.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import msgspec

from subgraph.domain.ids import ID_LENGTH_MAX, SessionId, TenantId
from subgraph.domain.sessions import Session

COPY_BYTES_MAX = 32 * 1024
"""How large a session's own JSON may be for it to be copied: copies are bounded by their number, and so by memory."""


class SessionKey(NamedTuple):
    """Whose session it is, and which. A copy is found by both: an id alone opens no other tenant's."""

    tenant_id: TenantId
    id: SessionId


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """How many announcements there were: in one line, which ends when the store is another one, or forgets."""

    run: str
    line: str
    count: int

    def covers(self, other: "Standing") -> bool:
        """Whether who has heard this much has heard all that the other had."""
        return (self.run, self.line) == (other.run, other.line) and self.count >= other.count


class Outdated(msgspec.Struct, frozen=True, array_like=True):
    """A session whose copies are void, all of them or those below a revision."""

    tenant_id: TenantId
    id: SessionId
    below: int | None = None


class Announcement(msgspec.Struct, frozen=True, array_like=True):
    """What is announced to every process, and how many announcements it makes."""

    standing: Standing
    outdated: list[Outdated]


@dataclass(frozen=True, slots=True)
class Copies:
    """What there was of some sessions: copies, places claimed for new ones, and sessions that are being changed."""

    sessions: Mapping[SessionId, Session]
    claimed: Collection[SessionId] = ()
    fenced: Collection[SessionId] = ()
    claim: str = ""
    unreadable: int = field(default=0)


class SessionBlobs(Protocol):
    """Copies of sessions. Every method raises Unavailable if the store does not answer in time."""

    async def standing(self) -> Standing:
        """How many announcements there were until now."""
        ...

    async def read(self, run: str, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> Copies:
        """The copies in a run of the store; free places among the others are claimed for the caller."""
        ...

    async def fill(self, run: str, tenant_id: TenantId, copies: Copies, stored: Mapping[SessionId, Session]) -> None:
        """Put what SQL said, after they were claimed, in the claimed places that are still the caller's."""
        ...

    async def fence(self, keys: Sequence[SessionKey], token: str) -> None:
        """Have no copies of sessions, until it is lifted by the token; then announce it."""
        ...

    async def lift(self, keys: Sequence[SessionKey], token: str) -> None:
        """Lift a fence. Where it stood no more, what came meanwhile is dropped, and that announced."""
        ...

    async def outdate(self, outdated: Sequence[Outdated]) -> None:
        """Drop copies, and announce it. Fences stay."""
        ...


class SessionRevisions(Protocol):
    """At which revisions sessions are, in SQL."""

    async def revisions(self, session_ids: Sequence[SessionId]) -> dict[SessionId, int]:
        """The revisions of those that there are, of all tenants."""
        ...


def is_copyable(text: str) -> bool:
    """Whether an id may be part of a key: not endless, and all of it text."""
    return len(text) <= ID_LENGTH_MAX and text.isprintable()


def is_small(session: Session) -> bool:
    """Whether a session may be copied; larger ones are read in SQL every time."""
    return len(msgspec.json.encode((session.context, session.metadata))) <= COPY_BYTES_MAX
