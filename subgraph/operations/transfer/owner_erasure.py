"""Owns the erasure of an owner: its sessions are purged, its data deleted from every store, and the stores searched.

Each step is done in bounded batches and does nothing the second time. The journal is forgotten last: until then it says
which sessions there were, so an erasure that was broken off anywhere goes on when it is asked for again.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from subgraph.domain import sessions
from subgraph.domain.access import Caller, Scope
from subgraph.domain.erasure import ERASED, Traces, check_owner_id
from subgraph.domain.errors import NotAllowed, NotFound, RevisionConflict, Unavailable
from subgraph.domain.ids import SessionId
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.sessions import Session, SessionChange
from subgraph.domain.sessions.creation import create_main
from subgraph.operations.ports import MonotonicClock
from subgraph.operations.sessions.session_ports import MainExists
from subgraph.operations.sessions.sessions import Sessions
from subgraph.operations.single_flight import SingleFlight
from subgraph.operations.transfer.owner_records import LiveResidues, OwnerRecords, ResidueScan

logger = logging.getLogger(__name__)

SESSIONS_PER_BATCH = 100
SESSIONS_PER_CALL_MAX = 10_000
"""Sessions that one call purges, and forgets; what is left of others is residues, and the next call's."""
LOST_RACES_MAX = 100
WAIT_SECONDS_MAX = 60.0
"""For how long a call waits for pods to drain and for history to be recorded."""
POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Erasure:
    """How many sessions were purged, or would be; and how many records still bear a trace of the owner."""

    sessions: int
    residues: int


@dataclass(frozen=True, slots=True)
class OwnerErasure:
    """Erasures of owners, one at a time in this process. One goes on when its caller has gone, who may ask again."""

    sessions: Sessions
    records: OwnerRecords
    live: LiveResidues
    scans: Sequence[ResidueScan]
    holds_tiles: Callable[[Sequence[SessionId]], bool]
    monotonic: MonotonicClock
    turn: SingleFlight[Erasure]
    wait_seconds_max: float = WAIT_SECONDS_MAX
    sessions_per_call_max: int = SESSIONS_PER_CALL_MAX
    poll_seconds: float = POLL_SECONDS

    async def erase(self, caller: Caller, owner_id: str, *, dry_run: bool) -> Erasure:
        """Erase an owner from the caller's tenant, or tell what of it there is.

        Where traces are left because something holds on to them for longer than this waits, or there were more
        sessions than it erases at once, calling again goes on.

        Raises:
            NotAllowed: the caller lacks tenant:write.
            InvalidInput: the id is nobody's.
            Unavailable: a store does not answer, or an erasure of another is under way; what was done stays done.
        """
        if not caller.has(Scope.TENANT_WRITE):
            raise NotAllowed(Scope.TENANT_WRITE)
        check_owner_id(owner_id)
        asked = caller.tenant_id, owner_id, dry_run
        return await self.turn.do(asked, lambda: self._carried_out(caller, owner_id, dry_run=dry_run))

    async def _carried_out(self, caller: Caller, owner_id: str, *, dry_run: bool) -> Erasure:
        try:
            return await (self._counted(caller, owner_id) if dry_run else self._erased(caller, owner_id))
        except Exception as error:
            # Without its words, which may name the owner: perhaps nobody waits any more to be told.
            logger.warning("an erasure was broken off by %s", type(error).__name__)
            raise

    async def _counted(self, caller: Caller, owner_id: str) -> Erasure:
        count = await self.records.session_count(caller.tenant_id, owner_id)
        return Erasure(count, await self._residues(caller, await self._traces(caller, owner_id)))

    async def _erased(self, caller: Caller, owner_id: str) -> Erasure:
        purged = await self._purge(caller, owner_id)
        # Before anything that tells of it is forgotten.
        await self._tell(caller, owner_id, purged)
        traces = await self._traces(caller, owner_id)
        is_forgotten = await self._forgotten(caller, traces)
        if is_forgotten:
            # Of those alone that every other store has forgotten: of the rest, the journal is all that knows them.
            await self.records.forget_journal(caller.tenant_id, traces)
        # The live store was looked through to the end, without finding any, when it is known to have forgotten.
        residues = await self._residues(caller, traces, looks_at_live=not is_forgotten)
        # Without the owner's id: a log is a store, too.
        logger.info("an owner was erased: %d sessions purged, %d residues", purged, residues)
        return Erasure(purged, residues)

    async def _traces(self, caller: Caller, owner_id: str) -> Traces:
        return Traces(owner_id, await self.records.known_ids(caller.tenant_id, owner_id, self.sessions_per_call_max))

    async def _purge(self, caller: Caller, owner_id: str) -> int:
        purged = lost = 0
        while purged < self.sessions_per_call_max:
            batch = min(SESSIONS_PER_BATCH, self.sessions_per_call_max - purged)
            some = await self.records.some_sessions(caller.tenant_id, owner_id, batch)
            if not some:
                break
            try:
                await self.sessions.commit(self._purge_of(caller, owner_id, some))
            except (NotFound, RevisionConflict, MainExists) as race:
                # Somebody was at work on one of them: they are read again.
                lost += 1
                if lost > LOST_RACES_MAX:
                    raise Unavailable("others keep changing the owner's sessions", retry_after_seconds=1.0) from race
                continue
            purged += len(some)
        return purged

    def _purge_of(self, caller: Caller, owner_id: str, some: Sequence[Session]) -> SessionChange:
        now = self.sessions.clock()
        # Their tiles are released by what the journal tells, as of any purge.
        purges = [sessions.purge(replace(session, is_main=False), actor=None, now=now) for session in some]
        created: tuple[Session, ...] = ()
        events = tuple(event for purge in purges for event in purge.events)
        if any(session.is_main for session in some):
            successor = create_main(caller.tenant_id, _name_left(caller, owner_id), now)
            created, events = successor.created, events + successor.events
        return SessionChange(created=created, purged=tuple(some), events=events)

    async def _tell(self, caller: Caller, owner_id: str, purged: int) -> None:
        """Tell the tenant that somebody was erased, and by whom, but not who it was."""
        actor = _name_left(caller, owner_id)

        def told(main: Session | None) -> SessionChange:
            if main is None or not main.is_main:
                raise NotFound("Session", "main")
            payload = {"sessions": purged}
            event = event_of(main, SessionEventType.OWNER_ERASED, actor, self.sessions.clock(), payload=payload)
            return SessionChange(events=(event,))

        for _ in range(LOST_RACES_MAX):
            main = await self.sessions.main(replace(caller, owner_id=actor))
            try:
                await self.sessions.store.change(caller.tenant_id, main.id, told)
            except NotFound:
                continue  # another session is main by now
            self.sessions.wake_relay()
            return
        raise Unavailable("others keep changing the main session", retry_after_seconds=1.0)

    async def _forgotten(self, caller: Caller, traces: Traces) -> bool:
        """Have all stores forget but for the journal; False if something still holds on when the wait is over."""
        tenant_id, owner_id = caller.tenant_id, traces.owner_id
        session_ids = [SessionId(one) for one in traces.session_ids]
        give_up_at = self.monotonic() + self.wait_seconds_max
        while True:
            began = self.monotonic()
            # What one look drops, the next does not find. Then history has recorded all there is, too: until it has,
            # the live store keeps notes for it.
            if (
                not self.holds_tiles(session_ids)
                and not await self.records.has_unrelayed(tenant_id, owner_id)
                and not (await self.live.forget(tenant_id, traces) and await self.live.forget(tenant_id, traces))
            ):
                await self.records.forget(tenant_id, traces)
                return True
            if self.monotonic() >= give_up_at:
                return False
            # A look through a large store is not repeated at once: half of the time is others'.
            await asyncio.sleep(max(self.poll_seconds, self.monotonic() - began))

    async def _residues(self, caller: Caller, traces: Traces, *, looks_at_live: bool = True) -> int:
        found: Counter[str] = Counter()
        for scan in (*self.scans, self.live) if looks_at_live else self.scans:
            found.update(await scan.residues(caller.tenant_id, traces))
        for place, count in sorted(found.items()):
            logger.info("%s: %d records bear traces of an owner", place, count)
        return found.total()


def _name_left(caller: Caller, owner_id: str) -> str:
    """What a caller is called in what an erasure leaves behind."""
    return ERASED if caller.owner_id == owner_id else caller.owner_id
