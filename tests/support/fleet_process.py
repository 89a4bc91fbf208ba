"""Owns what a process of the server does for the fleet, without HTTP: it follows, and competes to lead.

SQL it only has where a test gives it a history to record.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from secrets import token_urlsafe

from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.event_bus import RedisEventBus
from subgraph.adapters.redis.live_fleet import UNRECORDED_CHANGES_MAX, RedisLiveFleet
from subgraph.adapters.redis.term_log import RedisTermLog
from subgraph.domain.fleet.picture import Fleet
from subgraph.domain.fleet.plans import PlacementPolicy
from subgraph.domain.handoff import HandoffPolicy
from subgraph.domain.loads import LoadMetric
from subgraph.domain.suspicion import DEFAULT_QUARANTINE, QuarantinePolicy
from subgraph.operations.control.control_cycle import ControlCycle
from subgraph.operations.control.control_loop import ControlLoop
from subgraph.operations.control.cycle_facts import CycleFacts
from subgraph.operations.control.leadership import Candidacy
from subgraph.operations.control.recovery import Recovery
from subgraph.operations.fleet.fleet_view import FleetView
from subgraph.operations.fleet.live_fleet import LiveFleet
from subgraph.operations.fleet.pod_registering import PodRegistering
from subgraph.operations.fleet.pods import Pods
from subgraph.operations.history.history_recorder import HistoryRecorder
from subgraph.operations.history.term_history import TermHistory
from tests.support.coverage_in_memory import CoverageInMemory
from tests.support.polling import eventually

PATIENT = HandoffPolicy(prepare_timeout_ms=60_000, take_over_timeout_ms=120_000, drain_timeout_ms=60_000)
WITHOUT_COOL_DOWN = PlacementPolicy(cool_down_ms=0)


@dataclass(slots=True)
class Register:
    """The fleet register, in memory: it outlives every process of a test, as SQL would."""

    incarnations: dict[str, int] = field(default_factory=dict)
    coverage: CoverageInMemory = field(default_factory=CoverageInMemory)

    async def incarnation(self, fleet_id: str) -> int:
        return self.incarnations.get(fleet_id, 0)

    async def raise_incarnation(self, fleet_id: str, above: int = 0) -> int:
        self.incarnations[fleet_id] = max(self.incarnations.get(fleet_id, 0), above) + 1
        return self.incarnations[fleet_id]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a test's fleet lives."""

    leader_lease_ms: int = 600
    pod_lease_ms: int = 600
    cycle_seconds: float = 0.1
    handoff: HandoffPolicy = PATIENT
    placement: PlacementPolicy = WITHOUT_COOL_DOWN
    quarantine: QuarantinePolicy = DEFAULT_QUARANTINE


class FleetProcess:
    """One process. `kill` ends it as SIGKILL would: nothing is given up or said good-bye to."""

    def __init__(
        self,
        url: str,
        fleet_id: str,
        register: Register,
        name: str = "one",
        pace: Pace | None = None,
        wrap: Callable[[RedisLiveFleet], LiveFleet] = lambda live: live,
        history: TermHistory | None = None,
        unrecorded_changes_max: int = UNRECORDED_CHANGES_MAX,
    ) -> None:
        pace = pace or Pace()
        self.name = name
        self.register = register
        self.redis = connect(url)
        self.bus = RedisEventBus(self.redis)
        self.live = RedisLiveFleet(self.redis, self.bus, fleet_id, unrecorded_changes_max)
        self.view = FleetView(self.live, pace.pod_lease_ms, LoadMetric.RECORDS, time.monotonic)
        self.registering = PodRegistering(
            self.live, self.view, pace.pod_lease_ms, pace.pod_lease_ms, token_urlsafe, pace.quarantine
        )
        self.pods = Pods(self.live, self.view)
        self.cycles: list[CycleFacts] = []
        leading = wrap(self.live)
        self.candidacy = Candidacy(
            leading, register, self.view, fleet_id, name, pace.leader_lease_ms, pace.pod_lease_ms, token_urlsafe
        )
        cycle = ControlCycle(
            leading,
            self.view,
            self.candidacy,
            Recovery(leading, self.view, self.candidacy, register.coverage),
            pace.placement,
            pace.handoff,
            self.cycles.append,
            time.monotonic,
            pace.quarantine,
        )
        self.loop = ControlLoop(self.view, self.candidacy, cycle, pace.cycle_seconds, time.monotonic)
        self.log = RedisTermLog(self.redis, fleet_id)
        self.recorder = (
            HistoryRecorder(self.log, history, self.view, self.candidacy, time.monotonic) if history else None
        )
        self.tasks: list[asyncio.Task[None]] = []
        self.ended = asyncio.Event()

    async def start(self, *, leads: bool = True) -> "FleetProcess":
        """Follow the fleet, and by default compete to lead it."""
        works = [self.bus.run(), self.view.run(), *([self.recorder.run()] if self.recorder else [])]
        works += [self.loop.run()] if leads else []
        self.tasks = [asyncio.create_task(work) for work in works]
        if leads:
            await self.until(lambda fleet: fleet.version, "somebody leads, and the process follows")
        return self

    async def kill(self) -> None:
        """End at once. The leader's lease runs on until it ends by itself."""
        if self.candidacy.leads:
            self.candidacy.step_down("killed")
        await self.stop()

    async def stop(self) -> None:
        """End in order."""
        for task in reversed(self.tasks):
            task.cancel()
            await asyncio.wait([task])
        self.tasks = []
        self.ended.set()
        await self.bus.aclose()
        await self.redis.aclose()

    def sees(self, condition: Callable[[Fleet], object]) -> bool:
        """Whether the process knows the fleet and a condition holds for it."""
        return self.view.is_current and bool(condition(self.view.current()))

    async def until(self, condition: Callable[[Fleet], object], what: str) -> Fleet:
        """The fleet once a condition holds for it."""
        await eventually(lambda: self.sees(condition), what)
        return self.view.current()
