"""Owns leader election: the lease in the live store, and the incarnation in SQL, which is raised first."""

import logging
from dataclasses import dataclass, field

from subgraph.domain.ids import incarnation_of
from subgraph.operations.fleet.fleet_pulse import Beat
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import IncarnationBehind, Leadership, NotLeading
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.ports import FleetRegister, NewToken

logger = logging.getLogger(__name__)

BEGIN_ATTEMPTS_MAX = 3


@dataclass(frozen=True, slots=True)
class Term:
    """A term of leadership: nobody is declared lost, and no tile taken from anyone, before `grace_ends_at_ms`."""

    leadership: Leadership
    grace_ends_at_ms: int


@dataclass(slots=True)
class Candidacy:
    """This process's claim to lead a fleet."""

    live: LiveFleet
    register: FleetRegister
    view: FleetView
    fleet_id: str
    name: str
    lease_ms: int
    pod_lease_ms_max: int
    new_token: NewToken
    store_is_just_started: bool = False
    """Whether the live store was started together with this process, as an embedded one is."""
    _token: str = field(default="", init=False)
    _seen_version: int = field(default=0, init=False)
    _term: Term | None = field(default=None, init=False)

    async def lead(self) -> Term | None:
        """Keep leading, or try to begin; None: somebody else leads.

        Raises:
            Unavailable: the live store or SQL does not answer. Without SQL there is no takeover.
        """
        if self._term is not None:
            try:
                await self.live.keep_leading(self._term.leadership, self.lease_ms)
            except NotLeading:
                self.step_down("the lease has ended")
            else:
                return self._term
        is_first_attempt = not self._token
        # One token for all terms of this process: a store that comes back with its lease need not wait for its end.
        self._token = self._token or self.new_token()
        if not await self.live.try_lead(self.name, self._token, self.lease_ms):
            return None
        try:
            leadership = await self._begin(is_first_attempt)
        except NotLeading:
            return None
        beat, _ = await self.view.observe()
        self._term = Term(leadership, beat.now_ms + self.pod_lease_ms_max)
        logger.info("%s leads fleet %s in incarnation %d", self.name, self.fleet_id, leadership.incarnation)
        return self._term

    async def _begin(self, is_first_attempt: bool) -> Leadership:
        self._seen_version = max(self._seen_version, self.view.seen_version)
        above = incarnation_of(self._seen_version)
        for _ in range(BEGIN_ATTEMPTS_MAX):
            leadership = Leadership(await self.register.raise_incarnation(self.fleet_id, above), self._token)
            try:
                began_era = await self.live.begin_term(leadership, self._seen_version)
            except IncarnationBehind as behind:
                logger.error(
                    "SQL is behind the live store of fleet %s, as after it was restored from a backup: incarnation %d "
                    "would have followed %d. It is raised above that; what the backup lacks stays lost",
                    self.fleet_id,
                    leadership.incarnation,
                    behind.incarnation,
                )
                above = behind.incarnation
                continue
            if began_era:
                # A fleet's first era is no incident, nor is that of an embedded store, which starts with its server.
                is_ordinary = leadership.incarnation == 1 or (self.store_is_just_started and is_first_attempt)
                level = logging.INFO if is_ordinary else logging.WARNING
                logger.log(
                    level,
                    "fleet %s begins an era in incarnation %d: the live store is new, or may have forgotten writes; "
                    "every pod registers anew with what it holds",
                    self.fleet_id,
                    leadership.incarnation,
                )
            return leadership
        raise NotLeading("the incarnation of the live store keeps rising: others lead the fleet with other databases")

    def check(self, beat: Beat, seen_version: int) -> None:
        """Make sure that the term belongs to the live store as it is now.

        Args:
            beat: the pulse.
            seen_version: the newest version that this process had seen before it asked for the pulse. What it has seen
                since may well be newer than the pulse.

        Raises:
            NotLeading: the store was restarted, replaced, emptied or put back to an earlier state, so that a higher
                incarnation is due.
        """
        forgets = beat.published_version < max(self._seen_version, seen_version)
        if self._term and (forgets or not beat.is_adopted or beat.incarnation != self._term.leadership.incarnation):
            raise NotLeading("the live store is not as it was: a new incarnation is due")

    def note_seen(self, version: int) -> None:
        """Hear of a version that was given out once: a store that does not know it has forgotten it."""
        self._seen_version = max(self._seen_version, version)

    def step_down(self, reason: str) -> None:
        """Forget the term; the next turn competes anew."""
        logger.warning("%s no longer leads fleet %s: %s", self.name, self.fleet_id, reason)
        self._term = None

    @property
    def leads(self) -> bool:
        """Whether this process believes that it leads."""
        return self._term is not None

    @property
    def grace_ends_at_ms(self) -> int:
        """Until when this process, as a new leader, loses nobody yet (Redis time); 0: it does not lead."""
        return self._term.grace_ends_at_ms if self._term else 0

    @property
    def incarnation(self) -> int | None:
        """The incarnation this process believes that it leads in; None: it does not lead."""
        return self._term.leadership.incarnation if self._term else None

    async def give_up(self) -> None:
        """Hand leadership over at an orderly stop, so that nobody waits for the lease to end."""
        if self._term is not None:
            term, self._term = self._term, None
            await self.live.stop_leading(term.leadership)
