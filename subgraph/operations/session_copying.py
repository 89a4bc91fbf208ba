"""Owns how a session is copied: the parts that are asked for, under an id and a clock of its own."""

from collections.abc import Set
from dataclasses import dataclass

from subgraph.domain.access import Caller
from subgraph.domain.ids import SessionId
from subgraph.domain.naming import NameConflict
from subgraph.domain.sessions import Session, SessionChange, SessionState
from subgraph.domain.sessions.copying import CopyPart, copy
from subgraph.operations.partition import Partition
from subgraph.operations.ports import CoverageRegister
from subgraph.operations.session_making import NO_KEY, OnceKey, SessionMaking


@dataclass(frozen=True, slots=True)
class SessionCopying:
    """Copies of the sessions of one store."""

    making: SessionMaking
    partition: Partition
    coverage: CoverageRegister

    async def copy(
        self,
        caller: Caller,
        source_id: SessionId,
        display_name: str,
        include: Set[CopyPart],
        name_conflict: NameConflict = NameConflict.REJECT,
        once: OnceKey = NO_KEY,
    ) -> Session:
        """A copy of a session that the caller may see: with its own id and clock, and the parts that are asked for.

        Parts of which a session has none are copied by taking none. Who repeats a call that failed while the tiles were
        registered makes good what is missing, if it gave a key.

        Raises:
            NotFound, SessionExpired: the source is absent, or its time has run out.
            InvalidInput, NameTaken, QuotaExceeded, Unavailable: as the rules, the policy on names and the tiles say.
        """
        source = await self.making.sessions.get(caller, source_id)

        def decide(name: str | None) -> SessionChange:
            now, defaults = self.making.sessions.clock(), self.making.sessions.defaults
            return copy(source, name or "", include, caller.tenant_id, caller.owner_id, now, defaults)

        made = await self.making.make(caller, "copySession", once, display_name, name_conflict, decide)
        if CopyPart.TILES in include and made.state is SessionState.ACTIVE:
            for part in (await self.coverage.of_session(source_id)).parts:
                await self.partition.register(caller, made.id, part.cells.tolist(), part.template)
        return made
