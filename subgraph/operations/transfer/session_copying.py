"""Owns how a session is copied: the parts that are asked for, under an id and a clock of its own."""

from collections.abc import Set
from dataclasses import dataclass, replace

from subgraph.domain.access import Caller
from subgraph.domain.idempotency import NO_KEY, OnceKey
from subgraph.domain.ids import SessionId
from subgraph.domain.naming import NameConflict
from subgraph.domain.sessions import Session, SessionChange
from subgraph.domain.sessions.copying import CopyPart, copy
from subgraph.operations.coverage.coverage_ports import CoverageRegister
from subgraph.operations.coverage.partition import Partition
from subgraph.operations.sessions.session_making import Decide, SessionMaking


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

        Parts of which a session has none are copied by taking none; its coverage is registered with it. Who repeats a
        call that failed while its tiles were made makes good what is missing, if it gave a key.

        Raises:
            NotFound, SessionExpired: the source is absent, or its time has run out.
            InvalidInput, NameTaken, QuotaExceeded, Unavailable: as the rules, the policy on names and the tiles say.
        """
        sessions = self.making.sessions

        async def prepare() -> Decide:
            source = await sessions.get(caller, source_id)
            parts = (await self.coverage.of_session(source_id)).parts if CopyPart.TILES in include else ()
            begun = self.coverage.new(parts) if parts else None

            def decide(name: str | None) -> SessionChange:
                now, defaults = sessions.clock(), sessions.defaults
                change = copy(source, name or "", include, caller.tenant_id, caller.owner_id, now, defaults)
                return replace(change, coverage=begun)

            return decide

        made = await self.making.make(caller, "copySession", once, display_name, name_conflict, prepare)
        if CopyPart.TILES in include:
            await self.partition.make_tiles(caller, made.session, is_new=made.is_new)
        return made.session
