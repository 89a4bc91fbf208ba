"""Owns who leads the fleet: the lease in the live store, and the incarnation in SQL, raised before all else."""

import logging
from dataclasses import dataclass, field

from subgraph.operations.fleet_view import FleetView
from subgraph.operations.live_fleet import Beat, Leadership, LiveFleet, NotLeading
from subgraph.operations.ports import FleetRegister, NewToken

logger = logging.getLogger(__name__)

CATCH_UP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Term:
    """A term of leadership: nobody is declared lost, and no tile taken from anyone, before `grace_ends_at_ms`.

    Its incarnation belongs to one run of the live store (`run_id`): another run may have forgotten writes.
    """

    leadership: Leadership
    run_id: str
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
        token = self.new_token()
        if not await self.live.try_lead(self.name, token, self.lease_ms):
            return None
        incarnation = await self.register.raise_incarnation(self.fleet_id)
        leadership = Leadership(incarnation, token)
        try:
            await self.live.begin_term(leadership)
        except NotLeading:
            return None
        beat, _ = await self.view.observe(CATCH_UP_SECONDS)
        self._term = Term(leadership, beat.run_id, beat.now_ms + self.pod_lease_ms_max)
        logger.info("%s leads fleet %s in incarnation %d", self.name, self.fleet_id, incarnation)
        return self._term

    def check(self, beat: Beat) -> None:
        """Make sure that the term belongs to the live store as it is now.

        Raises:
            NotLeading: the store was restarted or replaced, so a higher incarnation is due.
        """
        if self._term and beat.run_id != self._term.run_id:
            self.step_down("the live store was restarted")
            raise NotLeading("the live store was restarted: a new incarnation is due")

    def step_down(self, reason: str) -> None:
        """Forget the term; the next turn competes anew."""
        logger.warning("%s no longer leads fleet %s: %s", self.name, self.fleet_id, reason)
        self._term = None

    @property
    def leads(self) -> bool:
        """Whether this process believes that it leads."""
        return self._term is not None

    @property
    def incarnation(self) -> int | None:
        """The incarnation this process believes that it leads in; None: it does not lead."""
        return self._term.leadership.incarnation if self._term else None

    async def give_up(self) -> None:
        """Hand leadership over at an orderly stop, so that nobody waits for the lease to end."""
        if self._term is not None:
            term, self._term = self._term, None
            await self.live.stop_leading(term.leadership)
