"""Owns the ports of registered coverage; a contract suite for each holds adapters to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from subgraph.domain.coverage.cells import CellArray
from subgraph.domain.fleet.requirements import SessionRequirement
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.registration import NewCoverage, RegisteredCells, RegisteredCoverage


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

    def new(self, parts: Sequence[RegisteredCells]) -> NewCoverage:
        """What has a session begin with these parts registered, in the transaction that makes it."""
        ...

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
