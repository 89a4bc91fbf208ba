"""Owns the control loop: whose turn it is to lead, and when a cycle is due. It takes no input but the fleet.

A cycle comes at every interval, and at once when a change may need one: an acknowledgement, a registration, new tiles,
a lease that ends. Regular cycles balance; those in between only settle handoffs and place what nobody owns.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass, field

from subgraph.domain.errors import Unavailable
from subgraph.operations.control.control_cycle import ControlCycle
from subgraph.operations.control.leadership import Candidacy, Term
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.fleet_writes import NotLeading
from subgraph.operations.interruptions import Interruption
from subgraph.operations.ports import MonotonicClock, SlowConsumer
from subgraph.operations.supervision import run_together

logger = logging.getLogger(__name__)

CANDIDATE_SECONDS = 0.5
"""How often a process that does not lead tries to; and at the least one that cannot go on."""
FAILED_CYCLES_MAX = 20
"""Unforeseen failures in a row after which the loop ends, and the process says that it is unhealthy."""
SPACING_SECONDS = 0.02
RENEWALS_PER_LEASE = 4


@dataclass(slots=True)
class ControlLoop:
    """The loop of one process; it acts while its candidacy leads. `run` must be kept running."""

    view: FleetView
    candidacy: Candidacy
    cycle: ControlCycle
    interval_seconds: float
    clock: MonotonicClock
    _failed_cycles: int = field(default=0, init=False)
    _due: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _regular_at_seconds: float = field(default=0.0, init=False)
    _retry_seconds: float = field(default=SPACING_SECONDS, init=False)
    _interruption: Interruption = field(default_factory=lambda: Interruption(logger, "the control loop"), init=False)

    async def run(self) -> None:
        """Lead whenever nobody else does, until cancelled."""
        try:
            await run_together(self._wake_on_changes(), self._turns())
        finally:
            with contextlib.suppress(Unavailable):
                await self.candidacy.give_up()

    async def _turns(self) -> None:
        while True:
            self._due.clear()
            try:
                term = await self.candidacy.lead()
                if term is not None:
                    await self._turn(term)
            except NotLeading as error:
                self.candidacy.step_down(str(error))
            except Unavailable as error:
                self._interruption.failed(error)
                await self._rest_after_failure()
                continue
            except Exception:
                # A fleet without a control loop is worse than a cycle that failed for a reason nobody foresaw. Another
                # process may fare better, so the lead is given up; a loop that keeps failing is for health to tell.
                self._failed_cycles += 1
                if self._failed_cycles >= FAILED_CYCLES_MAX:
                    raise
                logger.exception("a control cycle failed")
                self.candidacy.step_down("a cycle failed unexpectedly")
            else:
                self._failed_cycles = 0
                self._retry_seconds = SPACING_SECONDS
                self._interruption.succeeded()
            await self._wait()

    async def _turn(self, term: Term) -> None:
        started, seen_version = self.clock(), self.view.seen_version
        beat, fleet = await self.view.observe()
        self.candidacy.check(beat, seen_version)
        is_regular = started >= self._regular_at_seconds
        if is_regular:
            self._regular_at_seconds = started + self.interval_seconds
        await self.cycle.run(term, beat, fleet, started, is_regular=is_regular)

    async def _rest_after_failure(self) -> None:
        """Most failures are over in a moment; what lasts is tried often enough to keep a lease."""
        await asyncio.sleep(self._retry_seconds)
        self._retry_seconds = min(2 * self._retry_seconds, CANDIDATE_SECONDS, self._renewal_seconds)

    async def _wait(self) -> None:
        # Acknowledgements come in bursts; one cycle serves many of them.
        await asyncio.sleep(SPACING_SECONDS)
        if not self.candidacy.leads:
            await asyncio.sleep(CANDIDATE_SECONDS)
            return
        until_due = min(self._regular_at_seconds - self.clock(), self._seconds_to_next_loss())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(until_due, self._renewal_seconds))):
                await self._due.wait()

    @property
    def _renewal_seconds(self) -> float:
        return self.candidacy.lease_ms / 1_000 / RENEWALS_PER_LEASE

    def _seconds_to_next_loss(self) -> float:
        try:
            fleet, now_ms = self.view.current(), self.view.now_ms()
        except Unavailable:
            return self.interval_seconds
        ends = [pod.lease_expires_at_ms for pod in fleet.pods if pod.is_known and pod.record.status.is_live]
        if not ends:
            return self.interval_seconds
        return max(SPACING_SECONDS, (max(min(ends), self.candidacy.grace_ends_at_ms) - now_ms) / 1_000)

    async def _wake_on_changes(self) -> None:
        while True:
            with contextlib.suppress(SlowConsumer), self.view.effects.reader() as effects:
                async for _ in effects:
                    self._due.set()
